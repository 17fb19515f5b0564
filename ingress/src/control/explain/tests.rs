//! What becomes of names, of addresses, and of what is neither.

use super::*;

/// A VPS with one home, and what else the test wants.
fn parse(rest: &str) -> Config {
    let home = r#"
        [uplink]
        interface = "eth0"
        [[site]]
        name = "home"
        interface = "wg0"
        prefixes = ["2001:db8::/64"]
    "#;
    Config::parse(&format!("{home}{rest}"), "test").unwrap()
}

#[tokio::test]
async fn every_end_is_explained() {
    let text = r#"
        [[listen]]
        ports = [443]
        [hosts]
        "nas.example.org" = "2001:db8::9"
        "a.secret.example.org" = "2001:db8::9"
        [policy]
        ipv6 = "closed"
        deny_clients = ["192.0.2.0/24"]
        deny_names = ["*.secret.example.org"]
        [[allow]]
        to = ["2001:db8::/112"]
        from = ["2001:db8:c::/48"]
    "#;
    let mut config = parse(text);
    config.hosts.insert("far.example.org".parse().unwrap(), vec!["2001:db9::9".parse().unwrap()]);
    let resolver = Resolver::new(&config.dns, &config.hosts);
    for (name, ok, last) in [
        (
            "NAS.example.org",
            true,
            "closed; to TCP port 443 of 2001:db8::9: the [[allow]] number 1 lets in 2001:db8:c::/48",
        ),
        (
            "A.Secret.example.org",
            false,
            "deny_names has *.secret.example.org: the client gets the TLS alert unrecognized_name",
        ),
        ("far.example.org", false, "2001:db9::9 outside every site's prefixes: the client"),
        ("localhost", false, "the client gets the TLS alert unrecognized_name (`invalid_name`)"),
        (
            "192.0.2.7.",
            false,
            "it is an address, which counts as no name: on port 443 there is no default_host, and",
        ),
    ] {
        let (explanation, backends) = explain(&config, &resolver, name).await;
        assert_eq!(backends.len(), usize::from(ok));
        assert_eq!(explanation.ok(), ok, "{explanation:?}");
        let outcome = &explanation.steps.last().unwrap().outcome;
        assert!(outcome.starts_with(last), "{outcome}");
    }
    let (explanation, _) = explain(&config, &resolver, "192.0.2.7").await;
    assert_eq!(
        outcomes(&explanation),
        ["deny_clients has 192.0.2.0/24: what it begins is dropped, as `client_denied`"]
    );
}

#[tokio::test]
async fn an_address_is_sent_to_the_default_and_a_bad_name_is_not() {
    let text = r#"
        [[listen]]
        ports = [443, 8006]
        default_host = "www.example.org"
        [[listen]]
        ports = [8443]
        default_host = "www.example.org"
        [[listen]]
        ports = [5432]
        protocol = "postgres"
        [hosts]
        "www.example.org" = "2001:db8::80"
    "#;
    let config = parse(text);
    let resolver = Resolver::new(&config.dns, &config.hosts);
    for address in ["192.0.2.7", "2001:db8::1", "[2001:db8::1]", "192.0.2.7.", "0.7"] {
        let (explanation, backends) = explain(&config, &resolver, address).await;
        assert!(explanation.ok(), "{explanation:?}");
        assert_eq!(backends, [("2001:db8::80".parse().unwrap(), 0)]);
        let outcomes = outcomes(&explanation);
        assert_eq!(
            outcomes[..2],
            [
                "it is an address, which counts as no name: on port 5432 there is no default_host, and \
                 the client gets the TLS alert unrecognized_name (`no_name`); on port 443, 8006, 8443 \
                 the client is sent to the default_host www.example.org",
                "www.example.org is looked up",
            ]
        );
    }
    for bad in ["localhost", "not a name", "a..b", ""] {
        let (explanation, backends) = explain(&config, &resolver, bad).await;
        assert!(backends.is_empty() && !explanation.ok(), "{explanation:?}");
        let outcomes = outcomes(&explanation);
        assert!(outcomes[0].contains("(`invalid_name`), whatever default_host"), "{outcomes:?}");
    }
}

fn outcomes(explanation: &Explanation) -> Vec<&str> {
    explanation.steps.iter().map(|step| step.outcome.as_str()).collect()
}
