//! Several sites: each with its own tunnel, whatever the kind, and its own prefixes.

use anyhow::{Context, Result};
use ingress_tests::addresses::{
    BRANCH, BRANCH6, CLIENT_NAT46, CLIENT6, OFFICE, OFFICE_TOO, OFFICE_TOO6, OFFICE6, WWW, WWW6,
};
use ingress_tests::capture::Capture;
use ingress_tests::client::{Curl, ping6, random_file, same_content};
use ingress_tests::daemon::Daemon;
use ingress_tests::process::{self, wait_until};
use ingress_tests::servers::Web;
use ingress_tests::shared::{Stage, hand_on};
use ingress_tests::sites::{BRANCH_INTERFACE, OFFICE_INTERFACE, Sites, config};
use std::net::Ipv6Addr;
use std::process::Command;
use std::sync::{LazyLock, Mutex, MutexGuard};
use std::time::Duration;

/// Fields are dropped in order.
struct World {
    sites: Sites,
    stage: Stage,
}

fn build() -> Result<World> {
    let mut stage = Stage::build_without_daemon()?;
    let sites = Sites::add(&stage.lab, &stage.certificate)?;
    stage.daemon = Some(Daemon::start_with(&stage.lab, &config(&stage.lab))?);
    Ok(World { sites, stage })
}

fn world() -> MutexGuard<'static, World> {
    static WORLD: LazyLock<Mutex<World>> = LazyLock::new(|| {
        Mutex::new(build().unwrap_or_else(|error| panic!("no lab with three sites: {error:?}")))
    });
    hand_on(&WORLD, |world| world.stage.is_sound(), build)
}

/// The server of each name, and the site it is at.
fn everywhere(world: &World) -> [(&'static str, Ipv6Addr, &Web, &'static str); 4] {
    let World { sites, stage } = world;
    [
        (WWW, WWW6, &stage.web, "home"),
        (OFFICE, OFFICE6, &sites.office_web, "office"),
        (OFFICE_TOO, OFFICE_TOO6, &sites.office_web, "office"),
        (BRANCH, BRANCH6, &sites.branch_web, "branch"),
    ]
}

#[test]
fn every_site_and_prefix_is_reached_by_ipv6() -> Result<()> {
    let world = world();
    let World { sites, stage } = &*world;
    let paths = ["ipv6 in", "ipv6 out"];
    for (name, address, web, _) in everywhere(&world) {
        let path = format!("/?six={name}");
        let before = traffic(stage, &paths)?;
        let curl = Curl::direct(&stage.lab, &stage.certificate, name, address, &path)?;
        let answer = curl.args(&["--max-time", "10"]).run()?;
        assert_eq!(answer.status(), 200, "{name}: {}", answer.error());
        assert_eq!(web.request(&path)?["client"], CLIENT6.to_string());
        let after = traffic(stage, &paths)?;
        // By our programs, that is, and not by the kernel beside them.
        assert!(after[0] > before[0] + 4 && after[1] > before[1] + 4, "{name}: {after:?}");
    }
    for (from, name) in
        [(&stage.lab.www, "home"), (&sites.office, "office"), (&sites.branch, "branch")]
    {
        let ping = ping6(from, &["-c3", "-w5", "-i0.05", &CLIENT6.to_string()])?;
        assert!(ping.contains(" 3 received"), "{name}: {ping}");
    }
    Ok(())
}

#[test]
fn every_site_and_prefix_is_reached_by_name_over_ipv4() -> Result<()> {
    let world = world();
    let stage = &world.stage;
    for (name, _, web, site) in everywhere(&world) {
        let path = format!("/?four={name}");
        let answer = stage.by_name(name, &path)?.args(&["--max-time", "10"]).run()?;
        assert_eq!(answer.status(), 200, "{name}: {}", answer.error());
        assert_eq!(web.request(&path)?["client"], CLIENT_NAT46.to_string());
        let port = format!(":{}", answer.local_port());
        let flows = stage.daemon()?.flows()?;
        let flow = flows.iter().find(|flow| {
            flow["host"] == name && flow["client"].as_str().is_some_and(|c| c.ends_with(&port))
        });
        assert_eq!(flow.with_context(|| format!("{flows:?}"))?["site"], site);
    }
    Ok(())
}

#[test]
fn bulk_goes_both_ways_through_devices_with_ethernet() -> Result<()> {
    let world = world();
    let World { sites, stage } = &*world;
    for (name, web) in [(OFFICE, &sites.office_web), (BRANCH, &sites.branch_web)] {
        let file = web.root().join("bulk.bin");
        random_file(&file, 20)?;
        let down = stage.by_name(name, "/bulk.bin")?.run()?;
        assert!(same_content(&down.body, &file)?, "{name}: {}", down.error());
        let up = stage.by_name(name, "/up.bin")?.upload(&file).run()?;
        assert!(same_content(&web.root().join("up.bin"), &file)?, "{name}: {}", up.error());
    }
    Ok(())
}

#[test]
fn sites_reach_each_other() -> Result<()> {
    let world = world();
    let World { sites, stage } = &*world;
    let machines = [
        (&stage.lab.www, WWW6, WWW),
        (&sites.office, OFFICE6, OFFICE),
        (&sites.branch, BRANCH6, BRANCH),
    ];
    for (from, source, _) in machines {
        for (_, target, name) in machines.iter().filter(|(_, target, _)| *target != source) {
            let ping = ping6(from, &["-c2", "-w10", "-i0.05", &target.to_string()])?;
            assert!(ping.contains(" 2 received"), "{source} to {name}: {ping}");
            let path = format!("/?from={source}");
            let curl = Curl::on(from, &stage.lab, &stage.certificate, name, *target, &path)?;
            let answer = curl.args(&["--max-time", "10"]).run()?;
            assert_eq!(answer.status(), 200, "{source} to {name}: {}", answer.error());
            assert!(answer.text().contains(&source.to_string()), "{}", answer.text());
        }
    }
    Ok(())
}

#[test]
fn a_site_cannot_speak_for_another() -> Result<()> {
    let world = world();
    let World { sites, stage } = &*world;
    let capture =
        Capture::start(&stage.lab.client, "eth0", "icmp6 and ip6[40] == 128", stage.lab.dir())?;
    let (home, office) = ("2001:db8:1:0:1::99", "2001:db8:1:0:2::99");
    let foreign = "2001:db8:c::99";
    for (from, source) in [
        (&sites.office, home),
        (&sites.branch, home),
        (&sites.branch, office),
        (&sites.branch, foreign),
        (&sites.branch, "64:ff9b:1::c000:263"),
    ] {
        from.ip(&format!("addr add {source}/128 dev lo nodad\n"))?;
        let before = stage.daemon()?.drops("spoofed_from_site")?;
        for target in [CLIENT6, WWW6] {
            ping6(from, &["-c2", "-i0.05", "-W1", "-I", source, &target.to_string()])?;
        }
        from.ip(&format!("addr del {source}/128 dev lo\n"))?;
        let after = stage.daemon()?.drops("spoofed_from_site")?;
        // Four echo requests, and what looks for the neighbour under the same source.
        assert!(after - before >= 4, "{source} from {}", from.name());
    }
    let honest = ping6(&sites.branch, &["-c1", &CLIENT6.to_string()])?;
    assert!(honest.contains(" 1 received"), "{honest}");
    assert_eq!(capture.stop()?.len(), 1, "the honest one only");
    Ok(())
}

/// Who looks for a collision has no address yet (RFC 4862 §5.4.2), and is no liar.
#[test]
fn a_neighbour_without_an_address_is_heard() -> Result<()> {
    let world = world();
    let World { sites, stage } = &*world;
    let mut before = stage.daemon()?.drops("spoofed_from_site")?;
    // Liars of another test may still look for their neighbours, once a second.
    let calm = wait_until(Duration::from_secs(10), "nobody lies any more", || {
        std::thread::sleep(Duration::from_millis(1500));
        let now = stage.daemon().and_then(|daemon| daemon.drops("spoofed_from_site"));
        now.is_ok_and(|now| std::mem::replace(&mut before, now) == now)
    });
    calm?;
    sites.router.sysctl("ipv6/conf/vps/accept_dad", "1")?;
    sites.router.sysctl("ipv6/conf/vps/dad_transmits", "1")?;
    sites.router.ip("addr add fd00:5::1/64 dev vps\n")?;
    let mut found = String::new();
    let seen = wait_until(Duration::from_secs(3), "the VPS defends its address", || {
        let mut show = Command::new("ip");
        show.args(["-netns", sites.router.name(), "-6", "addr", "show", "dev", "vps"]);
        found = process::output(&mut show).unwrap_or_default();
        found.contains("dadfailed")
    });
    sites.router.ip("addr del fd00:5::1/64 dev vps\n")?;
    seen.context(found)?;
    assert_eq!(stage.daemon()?.drops("spoofed_from_site")?, before);
    Ok(())
}

#[test]
fn the_host_sees_every_site_attached() -> Result<()> {
    let world = world();
    let status = world.stage.daemon()?.ctl_json(&["status"])?;
    let sites = status["sites"].as_array().context("sites")?;
    let interfaces: Vec<_> = sites.iter().map(|site| &site["interface"]).collect();
    for (interface, name) in
        interfaces.iter().zip([world.stage.lab.tunnel(), OFFICE_INTERFACE, BRANCH_INTERFACE])
    {
        assert_eq!(interface["name"], name, "{status}");
        assert_eq!(interface["attachment"], "tcx", "{status}");
    }
    Ok(())
}

#[test]
fn the_next_hop_may_change() -> Result<()> {
    let world = world();
    let World { sites, stage } = &*world;
    // Another address of the router, and the neighbour not yet known.
    sites.router.ip("addr add fd00:5::3/64 dev vps nodad\n")?;
    stage.lab.vps.ip(&format!(
        "route replace 2001:db8:1:0:2::/80 via fd00:5::3\nneigh flush dev {OFFICE_INTERFACE}\n"
    ))?;
    let answer = stage.by_name(OFFICE, "/?hop")?.args(&["--max-time", "10"]).run()?;
    assert_eq!(answer.status(), 200, "{}", answer.error());
    let ping = ping6(&stage.lab.client, &["-c2", "-w5", "-i0.05", &OFFICE6.to_string()])?;
    assert!(ping.contains(" 2 received"), "{ping}");
    Ok(())
}

/// The daemon tells the programs who the router is. Where it is not there to tell, the kernel is asked again.
#[test]
fn a_router_that_moves_is_followed_with_a_daemon_and_without() -> Result<()> {
    let mut world = world();
    for (nth, dies) in [(7, false), (8, true), (9, false)] {
        if dies {
            world.stage.daemon_mut()?.kill();
        }
        let World { sites, stage } = &*world;
        sites.router.ip(&format!(
            "addr flush dev vps to fd00:5::/64\naddr add fd00:5::{nth}/64 dev vps nodad\n\
             route replace ::/0 via fd00:5::1\n"
        ))?;
        stage.lab.vps.ip(&format!(
            "route replace 2001:db8:1:0:2::/80 via fd00:5::{nth}\n\
             route replace 2001:db8:1:0:3::/80 via fd00:5::{nth}\n"
        ))?;
        arrives(stage)?;
        if dies {
            world.stage.daemon_mut()?.resume()?;
        }
        let answer = world.stage.by_name(OFFICE, "/?moved")?.args(&["--max-time", "10"]).run()?;
        assert_eq!(answer.status(), 200, "{}", answer.error());
    }
    Ok(())
}

/// The same on the uplink, for both protocols: of the router before, nothing is left but a wrong address.
#[test]
fn a_provider_with_another_router_is_followed() -> Result<()> {
    let mut world = world();
    let World { stage, .. } = &mut *world;
    stage.disturbed = true;
    let routers = |nth| [format!("198.51.100.{nth}"), format!("2001:db8:f::{nth}")];
    let [before, after] = [1, 9].map(|nth| {
        let (new, old) = (routers(nth), routers(10 - nth));
        let mut script = String::new();
        for (route, (new, old)) in ["default", "::/0"].iter().zip(new.iter().zip(&old)) {
            for router in [new, old] {
                script += &format!("neigh replace {router} lladdr 02:00:00:00:00:99 dev eth0\n");
            }
            script += &format!("neigh del {new} dev eth0\nroute replace {route} via {new}\n");
        }
        script
    });
    stage
        .lab
        .inet
        .ip("addr add 198.51.100.9/24 dev vps\naddr add 2001:db8:f::9/64 dev vps nodad\n")?;
    for (script, page) in [(&after, "/?other-router"), (&before, "/?first-router")] {
        stage.lab.vps.ip(script)?;
        arrives(stage)?;
        let answer = stage.by_name(OFFICE, page)?.args(&["--max-time", "10"]).run()?;
        assert_eq!(answer.status(), 200, "{}", answer.error());
    }
    stage.disturbed = false;
    Ok(())
}

/// Waits until there is a way to the office and back, for longer than the programs believe a dead daemon.
fn arrives(stage: &Stage) -> Result<()> {
    wait_until(Duration::from_secs(8), "a ping arrives at the office", || {
        ping6(&stage.lab.client, &["-c1", "-W1", &OFFICE6.to_string()])
            .is_ok_and(|ping| ping.contains(" 1 received"))
    })
}

/// Packets of each path.
fn traffic<const N: usize>(stage: &Stage, paths: &[&str; N]) -> Result<[u64; N]> {
    let stats = stage.daemon()?.ctl_json(&["stats"])?;
    let rows = stats["traffic"].as_array().with_context(|| stats.to_string())?;
    Ok(paths.map(|wanted| {
        rows.iter()
            .filter(|row| {
                let (path, direction) = (row["path"].as_str(), row["direction"].as_str());
                format!("{} {}", path.unwrap_or(""), direction.unwrap_or("")) == wanted
            })
            .filter_map(|row| row["packets"].as_u64())
            .sum()
    }))
}
