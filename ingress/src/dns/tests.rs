//! The resolver against a DNS server that counts its questions.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicUsize, Ordering},
};

use hickory_resolver::proto::{
    op::{Message, MessageType, ResponseCode},
    rr::{
        Name, RData, Record,
        rdata::{AAAA, CNAME, SOA},
    },
};
use tokio::net::UdpSocket;

use super::{cache::CachedName, *};

/// For look-ups that are answered.
const AMPLE: Duration = Duration::from_secs(5);

struct Server {
    address: SocketAddr,
    questions: Arc<AtomicUsize>,
}

impl Server {
    async fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let questions = Arc::new(AtomicUsize::new(0));
        let count = questions.clone();
        tokio::spawn(async move {
            let mut buffer = [0; 512];
            loop {
                let (length, client) = socket.recv_from(&mut buffer).await.unwrap();
                count.fetch_add(1, Ordering::SeqCst);
                if let Some(reply) = reply(Message::from_vec(&buffer[..length]).unwrap()).await {
                    socket.send_to(&reply.to_vec().unwrap(), client).await.unwrap();
                }
            }
        });
        Self { address, questions }
    }

    fn resolver(&self) -> Resolver {
        Resolver::new(&self.dns(AMPLE), &BTreeMap::new())
    }

    fn dns(&self, timeout: Duration) -> config::Dns {
        config::Dns { servers: vec![self.address], timeout }
    }

    fn questions(&self) -> usize {
        self.questions.load(Ordering::SeqCst)
    }
}

async fn reply(mut message: Message) -> Option<Message> {
    message.metadata.message_type = MessageType::Response;
    let name = message.queries[0].name().clone();
    let aaaa = |name: Name| {
        Record::from_rdata(name, 60, RData::AAAA(AAAA("2001:db8::1".parse().unwrap())))
    };
    match name.to_ascii().as_str() {
        "www.example.org." => {
            message.add_answer(aaaa(name));
        }
        "slow.example.org." => {
            tokio::time::sleep(Duration::from_millis(600)).await;
            message.add_answer(aaaa(name));
        }
        "alias.example.org." => {
            let real = Name::from_ascii("www.example.org.").unwrap();
            let alias = RData::CNAME(CNAME(real.clone()));
            message.add_answer(Record::from_rdata(name, 5, alias));
            message.add_answer(aaaa(real));
        }
        "broken.example.org." => message.metadata.response_code = ResponseCode::ServFail,
        silent if silent.ends_with("silent.example.org.") => return None,
        other => {
            if other != "v4only.example.org." {
                message.metadata.response_code = ResponseCode::NXDomain;
            }
            let root = Name::from_ascii("example.org.").unwrap();
            let soa = SOA::new(root.clone(), root.clone(), 1, 1, 1, 1, 30);
            message.add_authority(Record::from_rdata(root, 30, RData::SOA(soa)));
        }
    }
    Some(message)
}

fn name(name: &str) -> HostName {
    name.parse().unwrap()
}

fn cached(resolver: &Resolver) -> Vec<CachedName> {
    resolver.shared.state().cache.list(since_boot())
}

fn address() -> Answer {
    Ok(vec!["2001:db8::1".parse().unwrap()])
}

#[tokio::test]
async fn an_answer_is_cached_for_its_lifetime() {
    let server = Server::start().await;
    let resolver = server.resolver();
    assert_eq!(resolver.known(&name("www.example.org")), None);
    assert_eq!(resolver.lookup(&name("www.example.org")).await, address());
    assert_eq!(resolver.lookup(&name("www.example.org")).await, address());
    assert_eq!(resolver.known(&name("www.example.org")), Some(address()));
    assert_eq!(server.questions(), 1);
    assert_eq!(resolver.metrics().lookups(LookupResult::Ok), 1);
    assert_eq!(resolver.metrics().lookups(LookupResult::Cached), 2);

    let [cached] = &cached(&resolver)[..] else { panic!() };
    assert_eq!((cached.name.as_str(), &cached.answer), ("www.example.org", &address()));
    assert!(cached.ttl > Duration::from_secs(55), "{:?}", cached.ttl);
    assert_eq!(resolver.flush(Some(&name("www.example.org"))), 1);
    assert_eq!(resolver.lookup(&name("www.example.org")).await, address());
    assert_eq!(server.questions(), 2);
}

#[tokio::test]
async fn what_was_asked_before_a_name_was_forgotten_is_not_cached() {
    let server = Server::start().await;
    let resolver = Resolver::new(&server.dns(Duration::from_secs(5)), &BTreeMap::new());
    let slow = name("slow.example.org");
    for flushed in [Some(&slow), None] {
        let asked = tokio::spawn({
            let resolver = resolver.clone();
            async move { resolver.lookup(&name("slow.example.org")).await }
        });
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(resolver.flush(flushed), 0);
        assert_eq!(asked.await.unwrap(), address(), "whoever waits has an answer");
        assert_eq!(resolver.known(&name("slow.example.org")), None);
    }
    assert_eq!(resolver.lookup(&name("slow.example.org")).await, address());
    assert!(resolver.known(&name("slow.example.org")).is_some());
}

#[tokio::test]
async fn an_alias_is_followed_and_lives_as_long_as_its_shortest_record() {
    let server = Server::start().await;
    let resolver = server.resolver();
    assert_eq!(resolver.lookup(&name("alias.example.org")).await, address());
    assert!(cached(&resolver)[0].ttl <= Duration::from_secs(5));
}

#[tokio::test]
async fn what_does_not_exist_is_cached_too() {
    let server = Server::start().await;
    let resolver = server.resolver();
    for name in ["nothing.example.org", "v4only.example.org"].map(name) {
        for _ in 0..2 {
            assert_eq!(resolver.lookup(&name).await, Err(LookupError::NotFound), "{name}");
        }
    }
    assert_eq!(server.questions(), 2);
    assert_eq!(resolver.known(&name("v4only.example.org")), Some(Err(LookupError::NotFound)));
    assert_eq!(resolver.metrics().lookups(LookupResult::NotFound), 5);
}

#[tokio::test]
async fn failures_say_why() {
    let server = Server::start().await;
    let resolver = server.resolver();
    let Err(LookupError::Failed(reason)) = resolver.lookup(&name("broken.example.org")).await
    else {
        panic!()
    };
    assert!(reason.contains("Server Failure"), "{reason}");
    resolver.update(&server.dns(Duration::from_millis(300)), &BTreeMap::new());
    let silence = Err(LookupError::Failed("no answer within 0.3 s".to_owned()));
    assert_eq!(resolver.lookup(&name("silent.example.org")).await, silence);
    assert_eq!(resolver.metrics().lookups(LookupResult::Failed), 1);
    assert_eq!(resolver.metrics().lookups(LookupResult::Timeout), 1);
}

#[tokio::test]
async fn a_name_is_asked_for_once_however_many_wait() {
    let server = Server::start().await;
    let resolver = server.resolver();
    let lookups: Vec<_> = (0..50)
        .map(|_| {
            let resolver = resolver.clone();
            tokio::spawn(async move { resolver.lookup(&name("www.example.org")).await })
        })
        .collect();
    for lookup in lookups {
        assert_eq!(lookup.await.unwrap(), address());
    }
    assert_eq!(server.questions(), 1);
}

#[tokio::test]
async fn a_query_outlives_its_client() {
    let server = Server::start().await;
    let resolver = Resolver::new(&server.dns(Duration::from_millis(300)), &BTreeMap::new());
    assert!(matches!(
        resolver.lookup(&name("slow.example.org")).await,
        Err(LookupError::Failed(_))
    ));
    tokio::time::timeout(AMPLE, async {
        while cached(&resolver).is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .unwrap();
    assert_eq!(resolver.lookup(&name("slow.example.org")).await, address());
    assert_eq!(resolver.metrics().lookups(LookupResult::Cached), 1);
}

#[tokio::test]
async fn hosts_come_first_and_a_reload_changes_them() {
    let server = Server::start().await;
    let dns = server.dns(AMPLE);
    let own: Ipv6Addr = "2001:db8::9".parse().unwrap();
    let hosts = BTreeMap::from([(name("www.example.org"), vec![own])]);
    let resolver = Resolver::new(&dns, &hosts);
    assert_eq!(resolver.lookup(&name("www.example.org")).await, Ok(vec![own]));
    assert_eq!(resolver.known(&name("www.example.org")), Some(Ok(vec![own])));
    assert_eq!(server.questions(), 0);
    resolver.update(&dns, &BTreeMap::new());
    assert_eq!(resolver.lookup(&name("www.example.org")).await, address());

    let other = Server::start().await;
    resolver.update(&other.dns(AMPLE), &BTreeMap::new());
    assert_eq!(resolver.servers(), [other.address]);
    assert_eq!(resolver.lookup(&name("www.example.org")).await, address());
    assert_eq!((server.questions(), other.questions()), (1, 1));
}

#[tokio::test]
async fn queries_are_bounded() {
    let server = Server::start().await;
    let resolver = Resolver::new(&server.dns(Duration::from_millis(100)), &BTreeMap::new());
    while resolver.shared.state().slots.take(None) {}
    let answer = resolver.lookup(&name("www.example.org")).await;
    assert!(matches!(answer, Err(LookupError::Failed(_))), "{answer:?}");
    assert_eq!(resolver.metrics().lookups(LookupResult::Busy), 1);
}

#[tokio::test]
async fn a_flood_of_queries_does_not_make_known_names_unknown() {
    let server = Server::start().await;
    let resolver = Resolver::new(&server.dns(Duration::from_millis(100)), &BTreeMap::new());
    {
        let mut state = resolver.shared.state();
        let long_ago = since_boot() - Duration::from_secs(60);
        let known = Ok(vec![Ipv6Addr::LOCALHOST]);
        state.cache.insert(name("www.example.org"), known, long_ago, Duration::from_secs(1));
        while state.slots.take(None) {}
    }
    assert_eq!(resolver.lookup(&name("www.example.org")).await, Ok(vec![Ipv6Addr::LOCALHOST]));
    assert_eq!(resolver.metrics().lookups(LookupResult::Stale), 1);
}

const SILENT: &str = "silent.example.org";

/// A resolver that knew a name whose server says nothing any more.
fn knew(server: &Server, timeout: Duration) -> Resolver {
    let resolver = Resolver::new(&server.dns(timeout), &BTreeMap::new());
    let (known, second) = (Ok(vec![Ipv6Addr::LOCALHOST]), Duration::from_secs(1));
    let long_ago = since_boot() - 60 * second;
    resolver.shared.state().cache.insert(name(SILENT), known, long_ago, second);
    resolver
}

/// How long a look-up takes that gets the old answer.
async fn wait(resolver: &Resolver) -> Duration {
    let begun = tokio::time::Instant::now();
    assert_eq!(resolver.lookup(&name(SILENT)).await, Ok(vec![Ipv6Addr::LOCALHOST]));
    begun.elapsed()
}

#[tokio::test(start_paused = true)]
async fn only_the_first_waits_for_servers_that_are_away() {
    let second = Duration::from_secs(1);
    for (timeout, at_most) in [(second / 2, second / 2), (10 * second, 5 * second)] {
        let server = Server::start().await;
        let resolver = knew(&server, timeout);
        let first = wait(&resolver).await;
        assert!(first >= second / 2 && first <= at_most + second / 100, "{first:?}");
        for nth in 0..10 {
            assert_eq!(wait(&resolver).await, Duration::ZERO, "{timeout:?}, {nth}");
            tokio::time::sleep(second / 2).await;
        }
        // The failure is old, and they are asked again behind everybody's back.
        let (failure, asked) = (Err(LookupError::Failed("away".to_owned())), server.questions());
        let long_ago = since_boot() - 40 * second;
        resolver.shared.state().cache.insert(name(SILENT), failure, long_ago, second);
        assert_eq!(wait(&resolver).await, Duration::ZERO);
        tokio::time::sleep(second).await;
        assert!(server.questions() > asked);
    }
}

/// Together they wait no longer than one of them would.
#[tokio::test(start_paused = true)]
async fn who_comes_later_waits_for_what_is_left() {
    let server = Server::start().await;
    let resolver = knew(&server, Duration::from_secs(1));
    let first = tokio::spawn({
        let resolver = resolver.clone();
        async move { wait(&resolver).await }
    });
    tokio::time::sleep(Duration::from_millis(700)).await;
    let second = wait(&resolver).await;
    assert!(second <= Duration::from_millis(310), "{second:?}");
    assert!(first.await.unwrap() >= Duration::from_secs(1));
}

#[tokio::test]
async fn servers_that_are_back_are_believed_at_once() {
    let server = Server::start().await;
    let resolver = Resolver::new(&server.dns(Duration::from_secs(1)), &BTreeMap::new());
    let (name, second) = (name("www.example.org"), Duration::from_secs(1));
    let old = Ok(vec![Ipv6Addr::LOCALHOST]);
    {
        let mut state = resolver.shared.state();
        let (failure, now) = (Err(LookupError::Failed("away".to_owned())), since_boot());
        state.cache.insert(name.clone(), old.clone(), now - 60 * second, second);
        state.cache.insert(name.clone(), failure, now - 40 * second, second);
    }
    assert_eq!(resolver.lookup(&name).await, old, "nobody waits");
    tokio::time::timeout(5 * second, async {
        while resolver.lookup(&name).await != address() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .unwrap();
    assert_eq!(server.questions(), 1);
}

#[tokio::test]
async fn who_asks_for_many_names_leaves_room_for_others() {
    let server = Server::start().await;
    let resolver = Resolver::new(&server.dns(Duration::from_millis(100)), &BTreeMap::new());
    let greedy = |last| Ipv4Addr::new(192, 0, 2, last);
    // Their name server says nothing, so each query stays longer than its look-up.
    let flood = (0..MOST_QUERIES).map(|nth| {
        let resolver = resolver.clone();
        tokio::spawn(async move {
            let name = name(&format!("{nth}.silent.example.org"));
            let _ = resolver.lookup_for(greedy(nth as u8), &name).await;
        })
    });
    for look_up in flood.collect::<Vec<_>>() {
        look_up.await.unwrap();
    }
    assert!(resolver.metrics().lookups(LookupResult::Busy) > MOST_QUERIES as u64 / 2);
    resolver.update(&server.dns(AMPLE), &BTreeMap::new());
    let other = Ipv4Addr::new(198, 51, 100, 1);
    assert_eq!(resolver.lookup_for(other, &name("www.example.org")).await, address());
    // What was taken is given back, whatever became of the query.
    tokio::time::timeout(Duration::from_secs(20), async {
        while resolver.shared.state().slots != Slots::default() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await
    .unwrap();
}
