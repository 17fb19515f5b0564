//! Policy routing: whether there is any.

use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleFlags, RuleMessage};

/// Whether the rules by which the kernel chooses a routing table are those that it makes itself, and the main
/// table thus says it all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// Whether those of IPv4 are.
    pub usual4: bool,
    /// Whether those of IPv6 are.
    pub usual6: bool,
}

/// Tables of `linux/rtnetlink.h`. IPv6 has no default table, which IPv4 comes to last.
const LOCAL: u32 = 255;
const MAIN: u32 = 254;
const DEFAULT: u32 = 253;
/// `FRA_SUPPRESS_PREFIXLEN` of a rule that suppresses nothing; it is always told.
const NOTHING: u32 = u32::MAX;

pub(super) fn are_the_kernels_own(rules: &[RuleMessage]) -> bool {
    let mut tables: Vec<(u32, Option<u32>)> = rules.iter().map(table).collect();
    tables.sort_by_key(|(priority, _)| *priority);
    let tables: Vec<Option<u32>> = tables.into_iter().map(|(_, table)| table).collect();
    tables == [Some(LOCAL), Some(MAIN)] || tables == [Some(LOCAL), Some(MAIN), Some(DEFAULT)]
}

/// A rule's priority, and the table of one that sends every packet there.
fn table(rule: &RuleMessage) -> (u32, Option<u32>) {
    let header = &rule.header;
    let mut priority = 0;
    let mut table = u32::from(header.table);
    let mut everything = header.action == RuleAction::ToTable
        && header.flags == RuleFlags::empty()
        && (header.src_len, header.dst_len, header.tos) == (0, 0, 0);
    for attribute in &rule.attributes {
        if let RuleAttribute::Priority(value) = attribute {
            priority = *value;
        } else if let RuleAttribute::Table(value) = attribute {
            table = *value;
        } else {
            everything &= matches!(
                attribute,
                RuleAttribute::SuppressPrefixLen(NOTHING) | RuleAttribute::Protocol(_)
            );
        }
    }
    (priority, everything.then_some(table))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(priority: u32, table: u32, more: &[RuleAttribute]) -> RuleMessage {
        let mut rule = RuleMessage::default();
        rule.header.action = RuleAction::ToTable;
        rule.attributes = vec![
            RuleAttribute::Priority(priority),
            RuleAttribute::Table(table),
            RuleAttribute::SuppressPrefixLen(NOTHING),
        ];
        rule.attributes.extend_from_slice(more);
        rule
    }

    #[test]
    fn any_other_rule_is_noticed() {
        let (local, main) = (rule(0, LOCAL, &[]), rule(32_766, MAIN, &[]));
        let default = rule(32_767, DEFAULT, &[]);
        let usual = |rules: &[&RuleMessage]| {
            are_the_kernels_own(&rules.iter().map(|rule| (*rule).clone()).collect::<Vec<_>>())
        };
        assert!(usual(&[&local, &main]));
        assert!(usual(&[&default, &local, &main]), "in any order");
        assert!(!usual(&[]));
        assert!(!usual(&[&local]));
        assert!(!usual(&[&local, &main, &rule(100, 100, &[])]));
        assert!(!usual(&[&rule(32_768, LOCAL, &[]), &main]), "local after main");
        assert!(!usual(&[&local, &rule(1, MAIN, &[RuleAttribute::FwMark(1)])]));
        assert!(!usual(&[&local, &rule(1, MAIN, &[RuleAttribute::SuppressPrefixLen(0)])]));
        let mut from = rule(1, MAIN, &[]);
        from.header.src_len = 64;
        assert!(!usual(&[&local, &from]));
        let mut refusing = rule(1, MAIN, &[]);
        refusing.header.action = RuleAction::Unreachable;
        assert!(!usual(&[&local, &refusing]));
    }
}
