//! Links that are pinned, and what can become of them and of their interfaces meanwhile.

use std::fs;
use std::process::Command;

use aya::programs::{SchedClassifier, TcAttachType};
use ingress::control::Attachment;
use ingress::dataplane::{Dataplane, Hook};

use crate::device::{Device, alone};
use crate::pins::Pins;

const TUNNEL: Hook = Hook::Tunnel { ethernet: false };

/// With the tunnel's program at a device `home`, alone in a network namespace. Where that is a filter, which goes with its
/// interface, there is no link to test.
fn attached(name: &str, test: impl FnOnce(&Pins, Dataplane) + Send) {
    assert!(alone(|| {
        let pins = Pins::new(name);
        let device = Device::create("home", false);
        let (mut dataplane, _tables) = Dataplane::open(pins.path(), 64).unwrap();
        let attached = dataplane.attach("home", device.index, TUNNEL).unwrap();
        if attached.how == Attachment::Tcx {
            assert_eq!(programs_at("home"), 1);
            test(&pins, dataplane);
        }
    }));
}

fn programs_at(interface: &str) -> usize {
    SchedClassifier::query_tcx(interface, TcAttachType::Ingress).unwrap().1.len()
}

#[test]
fn an_interface_that_took_over_the_name_of_another_is_attached() {
    attached("renamed", |pins, dataplane| {
        // While the daemon is away.
        drop(dataplane);
        assert_eq!(programs_at("home"), 1);
        let renamed = Command::new("ip").args(["link", "set", "home", "name", "former"]).status();
        assert!(renamed.unwrap().success());
        let new = Device::create("home", false);
        let (mut after, _tables) = Dataplane::open(pins.path(), 64).unwrap();
        after.attach("home", new.index, TUNNEL).unwrap();
        assert_eq!((programs_at("home"), programs_at("former")), (1, 0));
    });
}

#[test]
fn links_whose_directory_was_removed_are_pinned_again() {
    attached("links", |_, mut dataplane| {
        let links = dataplane.directory().join("links");
        fs::remove_dir_all(&links).unwrap();
        dataplane.keep_pinned().unwrap();
        assert!(links.join("home").exists());
        assert_eq!(programs_at("home"), 1);
    });
}
