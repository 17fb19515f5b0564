//! Bars, one picture for all measures: SVG by hand, since bars need no library.

use crate::report::{Report, Table, short};
use std::fmt::Write as _;

const WIDTH: f64 = 760.0;
const LABELS: f64 = 210.0;
const BARS: f64 = 440.0;
const ROW: f64 = 20.0;
const TITLE: f64 = 34.0;

/// The whole report as one picture.
pub fn svg(report: &Report) -> String {
    let tables = report.tables();
    let height: f64 =
        tables.iter().map(|table| TITLE + ROW * table.summaries.len() as f64).sum::<f64>() + 20.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
    );
    let mut top = 0.0;
    for table in &tables {
        top = draw(&mut svg, table, top);
    }
    svg.push_str("</svg>\n");
    svg
}

fn draw(svg: &mut String, table: &Table, top: f64) -> f64 {
    let most = table.summaries.iter().map(|one| one.most).fold(f64::MIN_POSITIVE, f64::max);
    let _ = writeln!(
        svg,
        "<text x=\"8\" y=\"{}\" font-weight=\"bold\">{} ({})</text>",
        top + 24.0,
        table.measure,
        table.unit
    );
    let mut y = top + TITLE;
    for one in &table.summaries {
        let scale = |value: f64| LABELS + BARS * value / most;
        let middle = y + 8.0;
        let _ = writeln!(
            svg,
            "<text x=\"8\" y=\"{:.1}\">{}</text>\
             <rect x=\"{LABELS}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"14\" fill=\"{}\"/>\
             <line x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{middle:.1}\" y2=\"{middle:.1}\" stroke=\"#000000\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            y + 12.0,
            one.who,
            scale(one.median) - LABELS,
            colour(&one.who),
            scale(one.least),
            scale(one.most),
            scale(one.most) + 6.0,
            y + 12.0,
            short(one.median)
        );
        y += ROW;
    }
    y
}

/// What is this project's, in blue.
fn colour(who: &str) -> &'static str {
    let other = ["kernel", "yardstick", "nginx", "HAProxy", "nft", "dropped"];
    let colours = ["#9aa5b1", "#9aa5b1", "#7bb662", "#d9a441", "#7bb662", "#c0c0c0"];
    let known = other.iter().zip(colours).find(|(begin, _)| who.starts_with(**begin));
    known.map_or("#2f7fc1", |(_, colour)| colour)
}
