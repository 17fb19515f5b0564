//! The DNS servers, asked through hickory: AAAA of absolute names, no search domains, no `/etc/hosts`.

use std::{
    fs,
    net::{Ipv6Addr, SocketAddr},
    sync::Arc,
    time::{Duration, SystemTime},
};

use hickory_resolver::{
    TokioResolver,
    config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig},
    net::{DnsError, NetError, runtime::TokioRuntimeProvider},
    proto::{
        op::ResponseCode,
        rr::{Name, RData, RecordType},
    },
    system_conf,
};

use super::{Answer, LookupError, MOST_QUERIES};
use crate::host_name::HostName;

const RESOLV_CONF: &str = "/etc/resolv.conf";
/// A query that a server does not answer is repeated within this time, and then once more.
const ATTEMPT: Duration = Duration::from_secs(2);
/// A record of no lifetime at all would turn each connection into a query, and RFC 9520 asks for a second
/// where a query failed.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(24 * 3600);
/// A name that appears should not have to wait for long.
const LONGEST_NEGATIVE: Duration = Duration::from_secs(300);
/// Of one answer, which its zone's owner can make as long as a message of 64 KiB.
const MOST_ADDRESSES: usize = 32;

/// Hickory for the servers in use, or why there is none.
pub(super) type Servers = Result<Arc<TokioResolver>, String>;

pub(super) struct Upstream {
    configured: Vec<SocketAddr>,
    in_use: Vec<SocketAddr>,
    resolver: Servers,
    /// When resolv.conf was written, if that is where the servers come from.
    written: Option<SystemTime>,
}

impl Upstream {
    pub fn new(configured: Vec<SocketAddr>) -> Self {
        let written = written();
        let (in_use, resolver) = resolver(&configured);
        Self { configured, in_use, resolver, written }
    }

    pub fn servers(&self) -> &[SocketAddr] {
        &self.configured
    }

    pub fn in_use(&self) -> Vec<SocketAddr> {
        self.in_use.clone()
    }

    /// At boot, and where DHCP speaks, resolv.conf is written after the daemon has started.
    pub fn current(&mut self) -> Servers {
        if self.configured.is_empty() && written() != self.written {
            *self = Self::new(Vec::new());
        }
        self.resolver.clone()
    }
}

fn written() -> Option<SystemTime> {
    fs::metadata(RESOLV_CONF).and_then(|file| file.modified()).ok()
}

fn resolver(configured: &[SocketAddr]) -> (Vec<SocketAddr>, Servers) {
    let servers = if configured.is_empty() {
        match system_conf::read_system_conf() {
            Ok((config, _)) => config.name_servers().to_vec(),
            Err(error) => return (Vec::new(), Err(format!("{RESOLV_CONF}: {error}"))),
        }
    } else {
        configured.iter().copied().map(server).collect()
    };
    let in_use = servers.iter().filter_map(address).collect();
    (in_use, build(servers).map(Arc::new).map_err(|error| error.to_string()))
}

fn server(address: SocketAddr) -> NameServerConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
        connection.port = address.port();
        connection
    });
    NameServerConfig::new(address.ip(), true, connections.into())
}

fn address(server: &NameServerConfig) -> Option<SocketAddr> {
    server.connections.first().map(|connection| SocketAddr::new(server.ip, connection.port))
}

fn build(servers: Vec<NameServerConfig>) -> Result<TokioResolver, NetError> {
    let config = ResolverConfig::from_name_servers(servers);
    let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    let options = builder.options_mut();
    options.use_hosts_file = ResolveHosts::Never;
    options.timeout = ATTEMPT;
    options.attempts = 1;
    options.max_active_requests = MOST_QUERIES;
    // The cache is ours: it coalesces, lists itself, and keeps old answers for bad times.
    options.cache_size = 0;
    // The lifetime of an answer is that of its shortest-lived record, a CNAME's included.
    options.preserve_intermediates = true;
    builder.build()
}

/// Asks, and says how long the answer holds.
pub(super) async fn query(servers: Servers, name: &HostName) -> (Answer, Duration) {
    let resolver = match servers {
        Ok(resolver) => resolver,
        Err(reason) => return (Err(LookupError::Failed(reason)), SHORTEST),
    };
    // The dot keeps search domains away.
    let absolute = match Name::from_ascii(format!("{name}.")) {
        Ok(absolute) => absolute,
        Err(_) => return (Err(LookupError::NotFound), SHORTEST),
    };
    let lookup = match resolver.lookup(absolute, RecordType::AAAA).await {
        Ok(lookup) => lookup,
        Err(error) => return refusal(&error),
    };
    let mut ttl = LONGEST;
    let mut addresses: Vec<Ipv6Addr> = Vec::new();
    for record in lookup.answers() {
        ttl = ttl.min(Duration::from_secs(record.ttl.into()));
        if let RData::AAAA(address) = &record.data
            && addresses.len() < MOST_ADDRESSES
        {
            addresses.push(address.0);
        }
    }
    if addresses.is_empty() {
        return (Err(LookupError::NotFound), SHORTEST);
    }
    (Ok(addresses), ttl.max(SHORTEST))
}

fn refusal(error: &NetError) -> (Answer, Duration) {
    let NetError::Dns(DnsError::NoRecordsFound(none)) = error else {
        return (Err(LookupError::Failed(error.to_string())), SHORTEST);
    };
    if [ResponseCode::NXDomain, ResponseCode::NoError].contains(&none.response_code) {
        let ttl = Duration::from_secs(none.negative_ttl.unwrap_or(0).into());
        return (Err(LookupError::NotFound), ttl.clamp(SHORTEST, LONGEST_NEGATIVE));
    }
    let reason = format!("the DNS server says: {}", none.response_code);
    (Err(LookupError::Failed(reason)), SHORTEST)
}
