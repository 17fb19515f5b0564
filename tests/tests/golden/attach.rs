//! Links that are pinned, and what can become of them and of their interfaces meanwhile.

use std::fs;
use std::process::Command;
use std::thread;

use aya::programs::{SchedClassifier, TcAttachType};
use ingress::control::Attachment;
use ingress::dataplane::{Dataplane, Hook};
use nix::sched::{CloneFlags, unshare};

use crate::device::Device;
use crate::pins::Pins;

const TUNNEL: Hook = Hook::Tunnel { ethernet: false };

/// In a network namespace that goes with the test.
fn alone(test: impl FnOnce() + Send) {
    let ran = thread::scope(|scope| {
        let alone = || {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            test();
        };
        scope.spawn(alone).join()
    });
    assert!(ran.is_ok());
}

fn programs_at(interface: &str) -> usize {
    SchedClassifier::query_tcx(interface, TcAttachType::Ingress).unwrap().1.len()
}

#[test]
fn an_interface_that_took_over_the_name_of_another_is_attached() {
    alone(|| {
        let pins = Pins::new("renamed");
        let old = Device::create("home", false);
        let (mut before, _tables) = Dataplane::open(pins.path(), 64).unwrap();
        if before.attach("home", old.index, TUNNEL).unwrap().how == Attachment::Clsact {
            // A filter goes with its interface.
            return;
        }
        // While the daemon is away.
        drop(before);
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
    alone(|| {
        let pins = Pins::new("links");
        let device = Device::create("home", false);
        let (mut dataplane, _tables) = Dataplane::open(pins.path(), 64).unwrap();
        if dataplane.attach("home", device.index, TUNNEL).unwrap().how == Attachment::Clsact {
            return;
        }
        let links = dataplane.directory().join("links");
        fs::remove_dir_all(&links).unwrap();
        dataplane.keep_pinned().unwrap();
        assert!(links.join("home").exists());
        assert_eq!(programs_at("home"), 1);
    });
}
