//! Where packets leave, and what the numbers of sites mean.

use anyhow::{Context, Result};
use aya::{
    Ebpf,
    maps::{Array, MapData},
};
use ingress_common::maps::{Device, Host, MAX_SITES};

use super::{super::take, host, host_name};

/// Where packets leave.
pub struct Devices {
    uplink: Array<MapData, Device>,
    sites: Array<MapData, Device>,
}

impl Devices {
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self> {
        Ok(Self {
            uplink: Array::try_from(take(ebpf, "UPLINK")?)?,
            sites: Array::try_from(take(ebpf, "SITES")?)?,
        })
    }

    /// Sets the uplink.
    ///
    /// # Errors
    /// Where the kernel refuses.
    pub fn set_uplink(&mut self, device: Device) -> Result<()> {
        self.uplink.set(0, device, 0).context("set the uplink")
    }

    /// Sets the tunnels of all sites, by number. Flows may still carry another number: that of a site that has another
    /// name now, whose tunnel they keep, or of one that is no more, where they end.
    ///
    /// # Errors
    /// Where the kernel refuses.
    pub fn set_sites(&mut self, sites: &[(u16, Device)]) -> Result<()> {
        for (number, device) in sites {
            self.set_site(*number, *device)?;
        }
        let others = (0..MAX_SITES as u16).filter(|nth| sites.iter().all(|(used, _)| used != nth));
        for number in others {
            let old = self.sites.get(&u32::from(number), 0).context("read a site's tunnel")?;
            let same = sites.iter().find(|(_, device)| device.ifindex == old.ifindex);
            let now = same.map_or_else(Device::default, |(_, device)| *device);
            if now != old {
                self.set_site(number, now)?;
            }
        }
        Ok(())
    }

    /// Sets the tunnel of one site.
    ///
    /// # Errors
    /// Where the kernel refuses.
    pub fn set_site(&mut self, site: u16, device: Device) -> Result<()> {
        self.sites.set(u32::from(site), device, 0).context("set a site's tunnel")
    }
}

/// What the indices of sites mean.
pub struct SiteNames(Array<MapData, Host>);

impl SiteNames {
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self> {
        Ok(Self(Array::try_from(take(ebpf, "SITE_NAMES")?)?))
    }

    /// Gives every name an index: the one it had, or a free one. Names that are gone keep theirs as long
    /// as there are others, since flows may still carry it.
    ///
    /// # Errors
    /// With more sites than there is room for.
    pub fn assign(&mut self, names: &[&str]) -> Result<Vec<u16>> {
        let mut known: Vec<String> = (0..MAX_SITES)
            .map(|index| self.0.get(&index, 0).map(|host| host_name(&host)))
            .collect::<Result<_, _>>()
            .context("read the sites' names")?;
        names
            .iter()
            .map(|name| {
                let had = known.iter().position(|known| known == name);
                let index = had
                    .or_else(|| known.iter().position(String::is_empty))
                    .or_else(|| known.iter().position(|known| !names.contains(&known.as_str())))
                    .with_context(|| format!("more than {MAX_SITES} sites"))?;
                known[index] = (*name).to_owned();
                let index = u16::try_from(index).context("site index")?;
                self.0.set(u32::from(index), host(name), 0).context("name a site")?;
                Ok(index)
            })
            .collect()
    }
}
