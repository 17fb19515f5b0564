//! Bars, one picture for all measures: SVG by hand, since bars need no library.

use crate::contender::Contender;
use crate::report::{Report, Table, short};
use std::fmt::Write as _;

const WIDTH: f64 = 760.0;
const LABELS: f64 = 150.0;
const BARS: f64 = 460.0;
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
            one.contender.title(),
            scale(one.median) - LABELS,
            colour(one.contender),
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

const fn colour(contender: Contender) -> &'static str {
    match contender {
        Contender::Kernel => "#9aa5b1",
        Contender::IngressIpv6 => "#7fb7e6",
        Contender::Ingress => "#2f7fc1",
        Contender::Nginx => "#7bb662",
        Contender::Haproxy => "#d9a441",
    }
}
