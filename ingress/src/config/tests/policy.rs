//! What `[policy]` and `[[allow]]` rule, and the text of each error about them.

use super::*;

#[test]
fn names_and_clients_are_ruled_by_lists() {
    let policy = Config::parse(FULL, "full").unwrap().policy;
    for (name, passes) in [
        ("www.example.org", true),
        ("internal.example.org", true),
        ("a.internal.example.org", false),
        ("a.b.internal.example.org", false),
        ("notinternal.example.org", true),
        ("www.example.net", false),
    ] {
        assert_eq!(policy.rule_on(&name.parse().unwrap()).lets_through(), passes, "{name}");
    }
    let Ruling::Denied(entry) = policy.rule_on(&"a.internal.example.org".parse().unwrap()) else {
        panic!()
    };
    assert_eq!(entry.to_string(), "*.internal.example.org");
    assert_eq!(policy.rule_on(&"www.example.net".parse().unwrap()), Ruling::NotAllowed);
    for (client, passes) in [("192.0.2.1", false), ("2001:db8::1", true), ("192.0.3.1", false)] {
        let ruling = policy.rule_on_client(client.parse().unwrap());
        assert_eq!(ruling.lets_through(), passes, "{client}");
    }
}

#[test]
fn a_policy_that_closes_nothing_is_refused() {
    refused(
        "",
        "[[allow]]\nto = [\"2001:db8::1\"]",
        "i.toml:10:1: this [[allow]] changes nothing, since everything is let in",
        "= set ipv6 = \"closed\" in [policy]; or \"open\" there, to keep the rule for later",
    );
    let kept = "[policy]\nipv6 = \"open\"\n[[allow]]\nto = [\"2001:db8::1\"]";
    assert_eq!(Config::parse(&format!("{SMALLEST}{kept}"), "kept").unwrap().policy.allow.len(), 1);
    refused(
        "",
        "default_host = \"www.example.org\"\n[policy]\ndeny_names = [\"*.org\"]",
        "i.toml:10:16: the default_host \"www.example.org\" is one that the lists of names in [policy] refuse",
        "= leave one of the two out",
    );
}

#[test]
fn too_many_rules_are_refused_where_most_of_them_are() {
    let list = |count: u32, entry: &dyn Fn(u32) -> String| {
        (0..count).map(|nth| format!("{:?},\n", entry(nth))).collect::<String>()
    };
    let remedy = "= take fewer, or larger prefixes and ranges";
    let clients = list(70_000, &|nth| Ipv4Addr::from(nth).to_string());
    refused(
        "",
        &format!("[policy]\ndeny_clients = [\n{clients}]\nallow_clients = [\"192.0.2.0/24\"]"),
        "i.toml:12:1: the policy makes 70001 entries for clients, and there is room for 65536",
        remedy,
    );
    let allow = "[policy]\nipv6 = \"closed\"\n[[allow]]\nto = [\"2001:db8::1\"]\n[[allow]]\nto = [";
    let targets = list(9000, &|nth| format!("2001:db8::{nth:x}"));
    refused(
        "",
        &format!("{allow}\n{targets}]"),
        "i.toml:15:6: the policy makes 9000 entries for addresses in [[allow]], and there is room for 8192",
        remedy,
    );
    let ports = list(20_000, &|nth| (nth + 1).to_string());
    refused(
        "",
        &format!("{allow}\"2001:db8::2\"]\nports = [{ports}]"),
        "i.toml:16:9: the policy makes 40001 entries for services in [[allow]], and there is room for 32768",
        remedy,
    );
    let sources = list(70_000, &|nth| format!("2001:db9::{:x}:{:x}", nth >> 16, nth & 0xffff));
    refused(
        "",
        &format!("{allow}\"2001:db8::2\"]\nfrom = [{sources}]"),
        "i.toml:16:8: the policy makes 70000 entries for clients, and there is room for 65536",
        remedy,
    );
}

#[test]
fn slips_in_a_policy() {
    let policy = |line: &str, what: &str, remedy: &str| {
        let first = format!("i.toml:11:{what}");
        refused("", &format!("[policy]\n{line}"), &first, remedy);
    };
    policy(
        "ipv6 = \"close\"",
        "8: unknown value \"close\"",
        "= did you mean `closed`? the choices are open, closed",
    );
    policy(
        "deny_clients = [\"192.0.2.7/24\"]",
        "17: 192.0.2.7/24 has bits set beyond its length",
        "= write \"192.0.2.0/24\"",
    );
    policy(
        "deny_clients = [\"example.org\"]",
        "17: \"example.org\" is neither an address nor a prefix",
        "= write it as in \"192.0.2.0/24\", \"2001:db8:bad::/48\" or \"2001:db8::7\"",
    );
    policy(
        "deny_clients = [\"::ffff:192.0.2.0/120\"]",
        "17: ::ffff:192.0.2.0/120 is IPv4 in disguise",
        "= write \"192.0.2.0/24\"",
    );
    policy(
        "deny_names = [\"www.*.org\"]",
        "15: the name \"www.*.org\" has a character other than a-z, 0-9, '-', '_' and '.'",
        "= write a name as \"www.example.org\", or \"*.example.org\" for all names below",
    );
    let allow = |lines: &str, what: &str, remedy: &str| {
        let text =
            format!("[policy]\nipv6 = \"closed\"\n[[allow]]\nto = [\"2001:db8::1\"]\n{lines}");
        refused("", &text, &format!("i.toml:14:{what}"), remedy);
    };
    allow(
        "protocol = \"icmp\"",
        "12: \"icmp\" is not a protocol",
        "= take \"tcp\", \"udp\", or a number from 0 to 255",
    );
    allow(
        "ports = [\"8010-8000\"]",
        "10: \"8010-8000\" is neither a port nor a range of ports",
        "= write a number from 1 to 65535, or a range as in \"8000-8010\"",
    );
    allow(
        "ports = [65536]",
        "10: 65536 is neither a port nor a range of ports",
        "= write a number from 1 to 65535, or a range as in \"8000-8010\"",
    );
    allow(
        "ports = [443]\nprotocol = 58",
        "9: protocol 58 has no ports",
        "= only tcp and udp have: leave `ports` out",
    );
    allow(
        "from = [\"192.0.2.0/24\"]",
        "9: 192.0.2.0/24 is IPv4, which comes by name and not by [[allow]]",
        "= take IPv6 prefixes here; `deny_clients` and `allow_clients` know IPv4, too",
    );
    allow("from = []", "8: nobody is listed", "= leave `from` out for everybody");
    refused(
        "",
        "[policy]\nipv6 = \"closed\"\n[[allow]]\nto = [\"2001:db9::/64\"]",
        "i.toml:13:7: \"2001:db9::/64\" does not lie inside a site's prefixes",
        "= take an address or a prefix inside 2001:db8::/64",
    );
    refused(
        "",
        "[policy]\nipv6 = \"closed\"\n[[allow]]\nports = [443]",
        "i.toml:12:1: `to` is missing",
        "= add to = [\"2001:db8:1:0:1::80\"]",
    );
}
