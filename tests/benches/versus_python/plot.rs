//! The figures as a plot: how far each row is beyond its bar.

use std::fmt::Write;

use super::machine::Machine;
use super::measure::{Measured, Verdict};
use super::rows::Subject;

const WIDTH: f64 = 960.0;
const LABELS: f64 = 170.0;
const LINE: f64 = 26.0;
const TOP: f64 = 64.0;
/// Powers of ten to the left and to the right of the bar.
const DECADES: f64 = 2.0;

/// Rows from top to bottom; their margins from left to right, on a logarithmic scale with the bar in the middle.
pub(crate) fn svg(machine: &Machine, measured: &[Measured]) -> String {
    let height = TOP + LINE * measured.len() as f64 + 16.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"8\" y=\"18\" font-size=\"14\">wasmp beside its peers: times better than the bar</text>\n\
         <text x=\"8\" y=\"34\" fill=\"#666\" font-size=\"10\">{}</text>\n",
        escape(&machine.to_string())
    );
    // Writing to a String cannot fail.
    for (exponent, label) in [(-2, "1/100"), (-1, "1/10"), (0, "the bar"), (1, "10 ×"), (2, "100 ×")] {
        let x = place(10_f64.powi(exponent));
        let color = if exponent == 0 { "#333" } else { "#ddd" };
        let _ = writeln!(
            svg,
            "<line x1=\"{x:.1}\" y1=\"{TOP}\" x2=\"{x:.1}\" y2=\"{height}\" stroke=\"{color}\"/>"
        );
        let _ = writeln!(
            svg,
            "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{label}</text>",
            TOP - 6.0
        );
    }
    for (line, measured) in (0..).map(f64::from).zip(measured) {
        let middle = TOP + LINE * (line + 0.5);
        let text = middle + 4.0;
        let _ = writeln!(svg, "<text x=\"8\" y=\"{text:.1}\">{}</text>", measured.row.name);
        let judged = match measured.row.bar.subject {
            Subject::Figure => Some(&measured.ours),
            Subject::Ratio => measured.ratios.as_ref(),
        };
        let Some(judged) = judged else { continue };
        let margin = |value| place(measured.row.bar.margin(value));
        let (median, one, other) = (margin(judged.median()), margin(judged.min()), margin(judged.max()));
        let color = match measured.verdict {
            Verdict::Met => "#2a7",
            Verdict::Missed => "#c33",
            Verdict::Noisy | Verdict::NoPeer => "#d90",
        };
        let _ = writeln!(
            svg,
            "<line x1=\"{one:.1}\" y1=\"{middle:.1}\" x2=\"{other:.1}\" y2=\"{middle:.1}\" stroke=\"{color}\" stroke-width=\"2\"/>\n\
             <circle cx=\"{median:.1}\" cy=\"{middle:.1}\" r=\"5\" fill=\"{color}\"/>"
        );
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{text:.1}\" fill=\"#666\">{} (bar {})</text>",
            median.max(one).max(other) + 10.0,
            measured.verdict.name(),
            escape(measured.row.bar.text)
        );
    }
    svg.push_str("</svg>\n");
    svg
}

/// Where a margin stands; what is off the scale stands at its end.
fn place(margin: f64) -> f64 {
    let scale = (WIDTH - LABELS - 150.0) / (2.0 * DECADES);
    LABELS + (margin.log10().clamp(-DECADES, DECADES) + DECADES) * scale
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
