//! What was aimed at, and whether it was met.

use crate::report::{Summary, Table, between};

/// What a median is held against.
#[derive(Clone, Copy, Debug)]
enum Bound {
    /// As a ratio to whoever came first, at least.
    Least(f64),
    /// The same, at most.
    Most(f64),
    /// More than whoever came first, by at most so much.
    Above(f64),
    /// By itself, at most.
    Absolute(f64),
    /// As a ratio to somebody else who was there, at least.
    Beats(&'static str, f64),
}

struct Aim {
    measure: &'static str,
    unit: &'static str,
    who: &'static str,
    bound: Bound,
}

/// One aim and what came of it.
pub struct Verdict {
    pub what: String,
    pub aim: String,
    pub measured: f64,
    pub met: bool,
    /// Whether there are rounds enough to tell, and what they spread does not reach to the other side of the aim.
    pub certain: bool,
}

const BY_NAME: &str = "ingress by name";
const IPV6: &str = "ingress IPv6";

const AIMS: [Aim; 23] = [
    aim("bulk download, veth", "Mbit/s", BY_NAME, Bound::Least(0.95)),
    aim("bulk download, veth", "CPU s/GB", BY_NAME, Bound::Most(1.1)),
    aim("bulk upload, veth", "Mbit/s", BY_NAME, Bound::Least(0.95)),
    aim("bulk upload, veth", "CPU s/GB", BY_NAME, Bound::Most(1.1)),
    aim("bulk download, WireGuard", "Mbit/s", BY_NAME, Bound::Least(0.97)),
    aim("bulk upload, WireGuard", "Mbit/s", BY_NAME, Bound::Least(0.97)),
    aim("bulk download, veth", "Mbit/s", IPV6, Bound::Least(1.0)),
    aim("bulk upload, veth", "Mbit/s", IPV6, Bound::Least(1.0)),
    aim("small packets in, to one server", "packets/s of one core", IPV6, Bound::Least(1.3)),
    aim("small packets in, to many servers", "packets/s of one core", IPV6, Bound::Least(1.3)),
    aim("small packets out", "packets/s of one core", IPV6, Bound::Least(1.3)),
    aim("connections, 64 at a time", "per second", BY_NAME, Bound::Least(0.6)),
    aim("connections, 64 at a time", "per second", BY_NAME, Bound::Beats("snid", 2.0)),
    aim("connections, one at a time", "p50 ms", BY_NAME, Bound::Most(2.0)),
    aim("connections, one at a time", "p99 ms", BY_NAME, Bound::Most(2.0)),
    aim("100000 idle connections", "octets each, whole machine", BY_NAME, Bound::Above(600.0)),
    aim("flow table", "octets each, kernel", "1000000 flows", Bound::Absolute(600.0)),
    aim("flow table, in", "ns", "1000000 flows", Bound::Most(1.5)),
    aim("flow table, out", "ns", "1000000 flows", Bound::Most(1.5)),
    aim("flow table, whole packets in", "ns", "1048576 flows", Bound::Most(1.5)),
    aim("flow table, whole packets out", "ns", "1048576 flows", Bound::Most(1.5)),
    aim("at rest", "CPU %", BY_NAME, Bound::Absolute(0.2)),
    aim("at rest", "wake-ups/s", BY_NAME, Bound::Absolute(10.0)),
];

const fn aim(measure: &'static str, unit: &'static str, who: &'static str, bound: Bound) -> Aim {
    Aim { measure, unit, who, bound }
}

/// The aims that were measured this time.
pub fn verdicts(tables: &[Table]) -> Vec<Verdict> {
    AIMS.iter().filter_map(|aim| aim.judge(tables)).collect()
}

impl Aim {
    fn judge(&self, tables: &[Table]) -> Option<Verdict> {
        let table =
            tables.iter().find(|table| table.measure == self.measure && table.unit == self.unit)?;
        let found = table.summaries.iter().find(|one| one.who == self.who)?;
        let first = table.summaries.first()?;
        let (to, unit) = (&first.who, self.unit);
        // What comes out, whether that is enough, what was aimed at, and where what came out may lie as well.
        let (measured, met, aim, spread) = match self.bound {
            Bound::Least(least) => {
                let ratio = found.ratio?;
                (ratio, ratio >= least, format!("at least {least} of {to}"), found.between)
            }
            Bound::Most(most) => {
                let ratio = found.ratio?;
                (ratio, ratio <= most, format!("at most {most} of {to}"), found.between)
            }
            Bound::Above(most) => {
                let more = found.median - first.median;
                let spread = between(pairs(found, first, |one, other| one - other));
                (more, more <= most, format!("at most {most} more than {to}"), spread)
            }
            Bound::Absolute(most) => {
                let spread = between(found.values.clone());
                (found.median, found.median <= most, format!("at most {most}"), spread)
            }
            Bound::Beats(whom, least) => {
                let other = table.summaries.iter().find(|one| one.who == whom)?;
                let ratio = found.ratio? / other.ratio?;
                let spread = between(pairs(found, other, |one, other| one / other));
                (ratio, ratio >= least, format!("at least {least} of {whom}"), spread)
            }
        };
        let certain =
            spread.is_some_and(|[least, most]| !(least..=most).contains(&self.bound.number()));
        Some(Verdict {
            what: format!("{}, {unit}: {}", self.measure, self.who),
            aim,
            measured,
            met,
            certain,
        })
    }
}

impl Bound {
    fn number(self) -> f64 {
        match self {
            Self::Least(number)
            | Self::Most(number)
            | Self::Above(number)
            | Self::Absolute(number)
            | Self::Beats(_, number) => number,
        }
    }
}

/// Of each round.
fn pairs(one: &Summary, other: &Summary, of: impl Fn(f64, f64) -> f64) -> Vec<f64> {
    one.values.iter().zip(&other.values).map(|(one, other)| of(*one, *other)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Report, Row};

    #[test]
    fn met_and_missed() {
        let mut report = Report::default();
        let measure = "bulk upload, veth";
        // Of six rounds one had a lower rate: that is within the spread.
        for rate in [96.0, 97.0, 96.0, 93.0, 96.0, 98.0] {
            for (who, rate, cost) in [("kernel IPv6", 100.0, 1.0), (BY_NAME, rate, 1.2)] {
                report.add(Row::new(measure, "Mbit/s", who, rate));
                report.add(Row::new(measure, "CPU s/GB", who, cost));
            }
        }
        for (who, rate) in [("kernel IPv6", 9.0), (BY_NAME, 6.0), ("snid", 3.5)] {
            report.add(Row::new("connections, 64 at a time", "per second", who, rate));
        }
        let verdicts = verdicts(&report.tables());
        let judged: Vec<_> = verdicts.iter().map(|one| (one.met, one.certain)).collect();
        // The rate, the cost, and the connections of one round: beside the kernel's, beside snid's.
        assert_eq!(judged, [(true, false), (false, true), (true, false), (false, false)]);
    }

    /// Those aims that are no ratio to who came first, too.
    #[test]
    fn one_round_makes_nothing_certain_and_six_alike_do() {
        let rounds = |values: &[f64]| {
            let mut report = Report::default();
            for value in values {
                report.add(Row::new("at rest", "CPU %", BY_NAME, *value));
                for (who, rate) in [("kernel IPv6", 9.0), (BY_NAME, 6.0), ("snid", 100.0 * value)] {
                    report.add(Row::new("connections, 64 at a time", "per second", who, rate));
                }
                for (who, octets) in [("kernel IPv6", 1000.0), (BY_NAME, 1500.0 + 500.0 * value)] {
                    let (measure, unit) = ("100000 idle connections", "octets each, whole machine");
                    report.add(Row::new(measure, unit, who, octets));
                }
            }
            let verdicts = verdicts(&report.tables());
            // The connections beside the kernel's come first.
            assert_eq!(verdicts.len(), 4);
            verdicts[1..].iter().map(|one| (one.met, one.certain)).collect::<Vec<_>>()
        };
        // With 0.02, snid has 2 of our 6, and idle connections cost 510 octets more; with 0.3, 30 and 650.
        assert_eq!(rounds(&[0.02]), [(true, false), (true, false), (true, false)]);
        assert_eq!(rounds(&[0.02; 5]), [(true, false), (true, false), (true, false)]);
        assert_eq!(rounds(&[0.02; 6]), [(true, true), (true, true), (true, true)]);
        assert_eq!(rounds(&[0.3; 6]), [(false, true), (false, true), (false, true)]);
        let mixed = [0.02, 0.3, 0.02, 0.02, 0.02, 0.02];
        assert_eq!(rounds(&mixed), [(true, false), (true, false), (true, false)]);
    }

    #[test]
    fn every_aim_names_what_is_measured() {
        // Who comes first is never measured against itself.
        assert!(AIMS.iter().all(|aim| aim.who != "kernel IPv6"));
    }
}
