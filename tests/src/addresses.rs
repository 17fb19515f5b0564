//! Who has which address. The lab's own namespaces keep several labs apart, so these never change.

use std::net::{Ipv4Addr, Ipv6Addr};

/// The client, reached by IPv4.
pub const CLIENT4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
/// A neighbour of the client that no kernel owns: for clients made of raw packets.
pub const RAW_CLIENT4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 77);
/// The client, reached by IPv6.
pub const CLIENT6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xc, 0, 0, 0, 0, 2);
/// The VPS's only IPv4 address.
pub const VPS4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);
/// The VPS on its link to the provider.
pub const VPS6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xf, 0, 0, 0, 0, 2);
/// The provider's router, which also answers DNS.
pub const DNS4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
/// The web server at home.
pub const WWW6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 1, 0, 0, 0x80);
/// The database server at home; nothing listens on its port 443.
pub const DB6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 1, 0, 0, 0x81);
/// A neighbour of the servers that no kernel owns: for servers made of raw packets.
pub const RAW_SERVER6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 1, 0, 0, 0x77);
/// Whom the servers see in place of [`CLIENT4`].
pub const CLIENT_NAT46: Ipv6Addr = Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, 0xc000, 0x0202);

/// The server at the office, in its first prefix.
pub const OFFICE6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 2, 0, 0, 0x80);
/// The same server, in the office's second prefix.
pub const OFFICE_TOO6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 3, 0, 0, 0x80);
/// The server at the branch.
pub const BRANCH6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 4, 0, 0, 0x80);

/// The part of the /64 that is at home.
pub const SITE_PREFIX: &str = "2001:db8:1:0:1::/80";
/// The parts that are at the office.
pub const OFFICE_PREFIXES: [&str; 2] = ["2001:db8:1:0:2::/80", "2001:db8:1:0:3::/80"];
/// The part that is at the branch.
pub const BRANCH_PREFIX: &str = "2001:db8:1:0:4::/80";
/// Where IPv4 clients appear from.
pub const NAT46_PREFIX: &str = "64:ff9b:1::/96";

/// The web server's name.
pub const WWW: &str = "www.example.test";
/// The database server's name.
pub const DB: &str = "db.example.test";
/// A name that only `[hosts]` of the daemon's configuration knows, for the web server.
pub const HOSTS_ONLY: &str = "nas.example.test";
/// The office's name, which only `[hosts]` knows.
pub const OFFICE: &str = "office.example.test";
/// Its name in the second prefix.
pub const OFFICE_TOO: &str = "office-too.example.test";
/// The branch's name.
pub const BRANCH: &str = "branch.example.test";
/// A name whose address is in nobody's prefix.
pub const OUTSIDE: &str = "outside.example.test";
/// A name without an IPv6 address.
pub const ONLY_IPV4: &str = "only4.example.test";
/// A name inside the prefix where no machine is.
pub const NOBODY: &str = "nobody.example.test";
/// A name that leads to [`WWW`] by CNAME.
pub const ALIAS: &str = "alias.example.test";
/// A name that does not exist.
pub const UNKNOWN: &str = "unknown.example.test";
