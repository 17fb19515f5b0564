//! Which tunnel a site's number stands for, and that of a site that is no more.

use aya::maps::{Array, Map, MapData};
use ingress::dataplane::Dataplane;
use ingress_common::maps::Device;

use crate::pins::Pins;
use crate::place::device;

#[test]
fn numbers_of_sites_that_are_no_more_lead_nowhere() {
    let pins = Pins::new("sites");
    let (dataplane, mut tables) = Dataplane::open(pins.path(), 64).unwrap();
    let (home, office) = (device(7, 1420, false), device(8, 1500, true));
    let sites = MapData::from_pin(dataplane.directory().join("SITES")).unwrap();
    let sites = Array::<_, Device>::try_from(Map::Array(sites)).unwrap();
    let at = |number: u32| sites.get(&number, 0).unwrap();
    tables.network.devices.set_sites(&[(0, home), (1, office)]).unwrap();
    assert_eq!([0, 1, 2].map(at), [home, office, Device::default()]);
    // The first one gets another name, and with it another number. Its flows go on, whatever becomes of the MTU.
    let narrower = Device { mtu: 1280, ..home };
    tables.network.devices.set_sites(&[(1, office), (2, narrower)]).unwrap();
    assert_eq!([0, 1, 2].map(at), [narrower, office, narrower]);
    // It is taken out of the configuration; the second keeps its number.
    tables.network.devices.set_sites(&[(1, office)]).unwrap();
    assert_eq!([0, 1, 2].map(at), [Device::default(), office, Device::default()]);
    // A tunnel that is away is nobody's.
    tables.network.devices.set_sites(&[(1, Device::default())]).unwrap();
    assert_eq!([0, 1, 2].map(at), [Device::default(); 3]);
}
