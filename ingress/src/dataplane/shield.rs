//! The XDP program: attached when wanted, and gone with the daemon. It only takes work off the programs at
//! tc, so nothing is lost without it, and a daemon that crashed leaves none behind.

use anyhow::{Context, Result, bail};
use aya::{
    Ebpf,
    programs::{Xdp, XdpMode, xdp::XdpLink},
};

use super::Dataplane;

/// The shield on an interface; dropped, it is off.
pub struct Shield {
    index: u32,
    mode: XdpMode,
    _link: XdpLink,
}

impl Dataplane {
    /// Puts the shield on an interface, or on another, or takes it off; what is so already stays.
    ///
    /// # Errors
    /// Where the kernel or the driver refuses. The shield is off then.
    pub fn set_shield(&mut self, wanted: Option<(u32, XdpMode)>) -> Result<()> {
        let is = self.shield.as_ref().map(|shield| (shield.index, shield.mode as u32));
        if is == wanted.map(|(index, mode)| (index, mode as u32)) {
            return Ok(());
        }
        self.shield = None;
        let Some((index, mode)) = wanted else { return Ok(()) };
        let program = self.shield_program()?;
        let link = program.attach_to_if_index(index, mode).context("attach shield")?;
        self.shield = Some(Shield { index, mode, _link: program.take_link(link)? });
        Ok(())
    }

    /// The XDP program, for measurements and tests too.
    ///
    /// # Errors
    /// Where the verifier has refused it.
    pub fn shield_program(&mut self) -> Result<&mut Xdp> {
        if let Some(refusal) = &self.shield_refusal {
            bail!("the kernel's verifier refused the program shield: {refusal}");
        }
        program(&mut self.ebpf)
    }
}

/// Loads the program, whether it is wanted or not: later the daemon may load nothing any more. Returns what the
/// kernel says against it. Without it everything works, only with more effort.
pub(super) fn load(ebpf: &mut Ebpf) -> Result<Option<String>> {
    Ok(program(ebpf)?.load().err().map(|error| format!("{:#}", anyhow::Error::new(error))))
}

fn program(ebpf: &mut Ebpf) -> Result<&mut Xdp> {
    let program = ebpf.program_mut("shield").context("no program shield in the object")?;
    Ok(program.try_into()?)
}
