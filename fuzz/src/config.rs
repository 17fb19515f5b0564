//! The configuration: any text is refused with words, or makes a configuration that keeps its promises.

use std::collections::HashSet;

use ingress::config::{Config, ConfigError};
use ingress::host_name::HostName;

/// A text.
pub fn run(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else { return };
    match Config::parse(text, "a file") {
        Ok(config) => keeps_its_promises(&config),
        Err(error) => {
            let ConfigError::Invalid { problems, .. } = &error else {
                panic!("nothing was read: {error}");
            };
            assert!(!problems.is_empty(), "refused without a reason");
            let lines = text.matches('\n').count() + 1;
            for problem in problems {
                let place = problem.place.as_ref();
                assert!(place.is_none_or(|place| (1..=lines).contains(&place.line)));
                assert!(!problem.what.is_empty() && !problem.remedy.is_empty());
            }
            assert!(error.to_string().contains("a file"));
        }
    }
}

/// What the types do not say.
fn keeps_its_promises(config: &Config) {
    assert!(!config.sites.is_empty() && !config.listen.is_empty());
    let mut interfaces = HashSet::from([config.uplink.interface.as_str()]);
    let mut names = HashSet::new();
    let mut prefixes = Vec::new();
    for site in &config.sites {
        assert!(names.insert(&site.name), "two sites named {}", site.name);
        assert!(interfaces.insert(site.interface.as_str()), "two of {}", site.interface);
        assert!(!site.prefixes.is_empty());
        for prefix in &site.prefixes {
            let apart = |other: &ipnet::Ipv6Net| !other.contains(prefix) && !prefix.contains(other);
            assert!(prefixes.iter().all(apart), "{prefix} overlaps another");
            prefixes.push(*prefix);
        }
    }
    let mut ports = HashSet::new();
    for listen in &config.listen {
        assert!(!listen.ports.is_empty());
        assert!(listen.default_host.iter().all(|name| is_asked_for(name.as_str())));
        for port in &listen.ports {
            let wildcard = listen.addresses.is_empty().then_some(None);
            let mine = wildcard.into_iter().chain(listen.addresses.iter().map(Some));
            for address in mine {
                assert!(ports.insert((port, address)), "{port} twice");
            }
        }
    }
    for (name, addresses) in &config.hosts {
        assert!(is_asked_for(name.as_str()), "no client can ask for {name}");
        assert!(!addresses.is_empty());
        assert!(
            addresses.iter().all(|address| config.sites.iter().any(|site| site.owns(*address))),
            "{name}"
        );
    }
    assert!(config.daemon.flows > 0);
    assert!(config.daemon.bpffs.is_absolute() && config.control.socket.is_absolute());
}

/// Whether a client's name can be this one.
fn is_asked_for(name: &str) -> bool {
    name.parse::<HostName>().is_ok_and(|asked| asked.as_str() == name)
}
