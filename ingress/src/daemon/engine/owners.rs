//! Whose a backend's packets are.

use std::collections::{HashMap, hash_map::Entry};

use ingress_common::maps::BackendKey;

use crate::handshake::ClientTuple;

/// Handshakes by what their backends' packets carry, and the other way round: one that ends is found without a look
/// at all the others.
#[derive(Default)]
pub(super) struct Owners {
    owners: HashMap<BackendKey, ClientTuple>,
    keys: HashMap<ClientTuple, Vec<BackendKey>>,
}

impl Owners {
    pub(super) fn get(&self, key: &BackendKey) -> Option<ClientTuple> {
        self.owners.get(key).copied()
    }

    /// What another handshake had is its own no more.
    pub(super) fn insert(&mut self, key: BackendKey, owner: ClientTuple) {
        self.remove(&key);
        self.owners.insert(key, owner);
        self.keys.entry(owner).or_default().push(key);
    }

    pub(super) fn remove(&mut self, key: &BackendKey) {
        let Some(owner) = self.owners.remove(key) else { return };
        if let Entry::Occupied(mut keys) = self.keys.entry(owner) {
            keys.get_mut().retain(|known| known != key);
            if keys.get().is_empty() {
                keys.remove();
            }
        }
    }

    /// Everything that a handshake has, which it has no more.
    pub(super) fn remove_all(&mut self, owner: ClientTuple) -> Vec<BackendKey> {
        let keys = self.keys.remove(&owner).unwrap_or_default();
        for key in &keys {
            self.owners.remove(key);
        }
        keys
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(port: u16) -> ClientTuple {
        let client = std::net::SocketAddrV4::new([192, 0, 2, 1].into(), port);
        ClientTuple { client, listen: "198.51.100.2:443".parse().unwrap() }
    }

    fn key(port: u8) -> BackendKey {
        BackendKey::new([1; 16], [0, port], [2; 16], [3, 4])
    }

    #[test]
    fn a_handshake_loses_what_it_has_and_nothing_else() {
        let mut owners = Owners::default();
        for (port, owner) in [(1, 10), (2, 10), (3, 20)] {
            owners.insert(key(port), client(owner));
        }
        owners.remove(&key(2));
        assert_eq!(owners.remove_all(client(10)), [key(1)]);
        assert_eq!(owners.remove_all(client(10)), []);
        assert_eq!([1, 2, 3].map(|port| owners.get(&key(port))), [None, None, Some(client(20))]);
    }

    /// Two addresses of ours, and one port of a client to both.
    #[test]
    fn the_last_one_who_asks_has_it() {
        let mut owners = Owners::default();
        owners.insert(key(1), client(10));
        owners.insert(key(1), client(20));
        assert_eq!(owners.remove_all(client(10)), []);
        assert_eq!(owners.get(&key(1)), Some(client(20)));
        owners.remove(&key(1));
        assert!(owners.owners.is_empty() && owners.keys.is_empty());
    }
}
