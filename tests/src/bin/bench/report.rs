//! Medians and spreads, as text and as JSON.

use crate::verdict::verdicts;
use serde_json::{Value, json};
use std::fmt::Write as _;

/// One number of one round.
#[derive(Clone, Debug)]
pub struct Row {
    measure: String,
    unit: &'static str,
    who: String,
    value: f64,
}

impl Row {
    pub fn new(measure: &str, unit: &'static str, who: &str, value: f64) -> Self {
        Self { measure: measure.to_owned(), unit, who: who.to_owned(), value }
    }
}

/// Everything that was measured, in the order in which it was.
#[derive(Debug, Default)]
pub struct Report {
    rows: Vec<Row>,
}

/// The rounds of one in one measure.
#[derive(Debug)]
pub struct Summary {
    pub who: String,
    pub median: f64,
    pub least: f64,
    pub most: f64,
    /// The median of the rounds' ratios to whoever came first in the round.
    pub ratio: Option<f64>,
    /// Where that median would lie in 95 of 100 reports, with rounds enough to tell.
    pub between: Option<[f64; 2]>,
    /// One of each round.
    pub values: Vec<f64>,
}

/// One unit of one measure.
#[derive(Debug)]
pub struct Table {
    pub measure: String,
    pub unit: &'static str,
    pub summaries: Vec<Summary>,
}

impl Summary {
    fn spread(&self) -> String {
        // Whoever is compared with itself has none.
        let between = self.between.filter(|[least, most]| least < most);
        between.map_or(String::new(), |[least, most]| format!("{least:.2} to {most:.2}"))
    }
}

impl Report {
    pub fn add(&mut self, row: Row) {
        eprintln!("  {:<32} {:<28} {:>12.3} {}", row.measure, row.who, row.value, row.unit);
        self.rows.push(row);
    }

    pub fn tables(&self) -> Vec<Table> {
        let mut keys: Vec<(&str, &'static str)> = Vec::new();
        for row in &self.rows {
            if !keys.contains(&(&row.measure, row.unit)) {
                keys.push((&row.measure, row.unit));
            }
        }
        keys.into_iter().map(|(measure, unit)| self.table(measure, unit)).collect()
    }

    fn table(&self, measure: &str, unit: &'static str) -> Table {
        let mut all: Vec<(&str, Vec<f64>)> = Vec::new();
        for row in self.rows.iter().filter(|row| row.measure == measure && row.unit == unit) {
            match all.iter_mut().find(|(who, _)| *who == row.who) {
                Some((_, values)) => values.push(row.value),
                None => all.push((&row.who, vec![row.value])),
            }
        }
        let first = all.first().map(|(_, values)| values.clone()).unwrap_or_default();
        let summaries = all
            .into_iter()
            .map(|(who, values)| {
                // Pairs are of one round: what slows one down has slowed the other down.
                let ratios = values.iter().zip(&first).map(|(value, first)| value / first);
                let ratios: Vec<f64> = ratios.filter(|ratio| ratio.is_finite()).collect();
                Summary {
                    who: who.to_owned(),
                    least: values.iter().copied().fold(f64::INFINITY, f64::min),
                    most: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
                    median: median(values.clone()).unwrap_or(f64::NAN),
                    between: between(ratios.clone()),
                    ratio: median(ratios),
                    values,
                }
            })
            .collect();
        Table { measure: measure.to_owned(), unit, summaries }
    }

    /// For reading.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for table in self.tables() {
            let _ = writeln!(text, "\n{} ({})", table.measure, table.unit);
            for one in &table.summaries {
                let ratio = one.ratio.map_or(String::new(), |ratio| format!("x {ratio:.2}"));
                let _ = writeln!(
                    text,
                    "  {:<28} {:>10} {:>8} {:>13}   {} to {} in {}",
                    one.who,
                    short(one.median),
                    ratio,
                    one.spread(),
                    short(one.least),
                    short(one.most),
                    one.values.len()
                );
            }
        }
        text
    }

    /// For documents. `place` says where it was measured.
    pub fn markdown(&self, place: &str, quick: bool) -> String {
        let tables = self.tables();
        let mut text = format!("{place}\n");
        if quick {
            text.push_str("\n**A quick run, to see that it works. These are not results.**\n");
        }
        let verdicts = verdicts(&tables);
        if !verdicts.is_empty() {
            text.push_str("\n| measured | aim | came out | |\n| --- | --- | ---: | --- |\n");
        }
        for one in verdicts {
            let met = if one.met { "met" } else { "**missed**" };
            let sure = if one.certain { "" } else { ", not certain" };
            let measured = short(one.measured);
            let _ = writeln!(text, "| {} | {} | {measured} | {met}{sure} |", one.what, one.aim);
        }
        for table in tables {
            let rounds = table.summaries.iter().map(|one| one.values.len()).max().unwrap_or(0);
            let _ = writeln!(
                text,
                "\n### {}, {}\n\n| | median of {rounds} | ratio | 95 % | least | most |\n\
                 | --- | ---: | ---: | ---: | ---: | ---: |",
                table.measure, table.unit
            );
            for one in &table.summaries {
                let ratio = one.ratio.map_or(String::new(), |ratio| format!("{ratio:.2}"));
                let [median, least, most] = [one.median, one.least, one.most].map(short);
                let (who, spread) = (&one.who, one.spread());
                let _ =
                    writeln!(text, "| {who} | {median} | {ratio} | {spread} | {least} | {most} |");
            }
        }
        text
    }

    /// For programs.
    pub fn json(&self) -> Value {
        let tables: Vec<Value> = self
            .tables()
            .iter()
            .map(|table| {
                let summaries: Vec<Value> = table
                    .summaries
                    .iter()
                    .map(|one| {
                        json!({
                            "contender": one.who, "median": one.median,
                            "least": one.least, "most": one.most, "rounds": one.values.len(),
                            "ratio_to_first": one.ratio, "ratio_between": one.between,
                        })
                    })
                    .collect();
                json!({ "measure": table.measure, "unit": table.unit, "contenders": summaries })
            })
            .collect();
        json!({ "version": 1, "measures": tables })
    }
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        len if len % 2 == 1 => Some(values[middle]),
        _ => Some(f64::midpoint(values[middle - 1], values[middle])),
    }
}

/// The median's 95 % confidence interval, by ranks: nothing is assumed of how the values are distributed. Fewer than
/// six of them have none.
pub fn between(mut values: Vec<f64>) -> Option<[f64; 2]> {
    values.sort_by(f64::total_cmp);
    let len = values.len();
    // How likely it is that at most so many of them lie on one side of the true median.
    let (mut term, mut sum, mut outside) = (0.5_f64.powi(i32::try_from(len).ok()?), 0.0, 0);
    while outside < len {
        sum += term;
        if sum > 0.025 {
            break;
        }
        outside += 1;
        term *= (len - outside + 1) as f64 / outside as f64;
    }
    (outside > 0).then(|| [values[outside - 1], values[len - outside]])
}

/// Three digits that matter.
pub fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 || size == 0.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_that_nobody_shortens_tells_how_certain_it_is() {
        assert!(between(vec![1.0; crate::measures::Extent::FULL.rounds]).is_some());
    }

    #[test]
    fn medians_and_pairs() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
        let mut report = Report::default();
        for (kernel, nginx) in [(10.0, 5.0), (20.0, 10.0), (40.0, 4.0)] {
            report.add(Row::new("m", "u", "kernel", kernel));
            report.add(Row::new("m", "u", "nginx", nginx));
        }
        // Binomial tables: ranks 1 and 6 of 6, 2 and 8 of 9, 14 and 28 of 41.
        let ranks = |count: u8| between((1..=count).map(f64::from).collect());
        assert_eq!(ranks(0), None);
        assert_eq!(ranks(5), None);
        assert_eq!(ranks(6), Some([1.0, 6.0]));
        assert_eq!(ranks(9), Some([2.0, 8.0]));
        assert_eq!(ranks(41), Some([14.0, 28.0]));
        let table = report.tables().remove(0);
        assert_eq!(table.summaries[0].ratio, Some(1.0));
        assert_eq!((table.summaries[1].median, table.summaries[1].ratio), (5.0, Some(0.5)));
    }
}
