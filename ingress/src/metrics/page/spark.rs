//! Small pictures of rates, as SVG.

use std::fmt::Write;

const WIDTH: f64 = 240.0;
const HEIGHT: f64 = 40.0;
/// Above and below, so that the stroke is not cut.
const MARGIN: f64 = 2.0;

/// A line from the first point to the last, with the area below it. The scale begins at zero.
pub(super) fn line(points: &[f64]) -> String {
    let most = points.iter().copied().fold(0.0, f64::max);
    let step = WIDTH / points.len().saturating_sub(1).max(1) as f64;
    let mut path = String::new();
    for (nth, point) in points.iter().enumerate() {
        let share = if most > 0.0 { point / most } else { 0.0 };
        let y = HEIGHT - MARGIN - share * (HEIGHT - 2.0 * MARGIN);
        let command = if nth == 0 { 'M' } else { 'L' };
        let _ = write!(path, "{command}{:.1} {y:.1}", nth as f64 * step);
    }
    let area = if path.is_empty() {
        String::new()
    } else {
        format!("<path class=\"area\" d=\"{path}L{WIDTH} {HEIGHT}L0 {HEIGHT}Z\"/>")
    };
    format!(
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" preserveAspectRatio=\"none\" aria-hidden=\"true\">{area}<path d=\"{path}\"/></svg>"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_point_is_at_the_top() {
        let svg = line(&[0.0, 10.0, 5.0]);
        assert!(svg.contains("d=\"M0.0 38.0L120.0 2.0L240.0 20.0\""), "{svg}");
        assert!(line(&[]).starts_with("<svg"));
        assert!(!line(&[0.0]).contains("NaN"));
    }
}
