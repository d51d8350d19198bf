//! Bar charts as SVG.

use std::fmt::Write;

use crate::cases::{Case, Kind};
use crate::contestants::Role;
use crate::table::Row;

const WIDTH: f64 = 720.0;
const LABELS: f64 = 200.0;
const LINE: f64 = 24.0;

/// The best figures of one case, shortest first.
pub(crate) fn svg(case: &Case, rows: &[Row]) -> String {
    let mut rows: Vec<&Row> = rows.iter().collect();
    rows.sort_by(|a, b| a.best().total_cmp(&b.best()));
    let longest = rows.last().map_or(1.0, |row| row.best()).max(f64::MIN_POSITIVE);
    let height = LINE * (rows.len() as f64 + 1.5);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" \
         font-size=\"13\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         <text x=\"8\" y=\"18\" font-weight=\"bold\">{} ({})</text>\n",
        case.name,
        case.measure()
    );
    let digits = if case.kind == Kind::Idle { 0 } else { 2 };
    for (index, row) in rows.iter().enumerate() {
        let y = LINE * (index as f64 + 1.2);
        let color = match row.role {
            Role::Ours(_) => "#2563eb",
            Role::Floor(_) => "#d1d5db",
            Role::Peer => "#9ca3af",
        };
        bar(&mut svg, y, row, longest, digits, &format!("fill=\"{color}\""));
    }
    svg.push_str("</svg>\n");
    svg
}

/// The bars of one case in the summary, ours above.
const BARS: f64 = 4.6;
/// Colours for light and for dark pages, on the page's own background.
const STYLE: &str = "<style>text { fill: #1f2328 } .ours { fill: #2563eb } .peer { fill: #9ca3af }\n\
    @media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .ours { fill: #60a5fa } .peer { fill: #6b7280 } }</style>\n";

/// All cases in one chart: both drivers and the best other server, each case to its own scale.
pub(crate) fn summary(cases: &[(Case, Vec<Row>)]) -> String {
    let height = LINE * (BARS * cases.len() as f64 + 0.4);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height:.0}\" font-family=\"sans-serif\" \
         font-size=\"13\">\n{STYLE}"
    );
    for (index, (case, rows)) in cases.iter().enumerate() {
        let top = LINE * (BARS * index as f64);
        let peers = rows.iter().filter(|row| row.role == Role::Peer);
        let ours = rows.iter().filter(|row| matches!(row.role, Role::Ours(_)));
        let best_peer = peers.min_by(|a, b| a.best().total_cmp(&b.best()));
        let bars: Vec<&Row> = ours.chain(best_peer).collect();
        let longest = bars.iter().map(|row| row.best()).fold(f64::MIN_POSITIVE, f64::max);
        let digits = if case.kind == Kind::Idle { 0 } else { 2 };
        let _ = writeln!(
            svg,
            "<text x=\"8\" y=\"{:.1}\" font-weight=\"bold\">{}: {}</text>",
            top + 18.0,
            case.name,
            case.measure()
        );
        for (line, row) in bars.iter().enumerate() {
            let y = top + LINE * (line as f64 + 1.1);
            let class = if row.role == Role::Peer { "peer" } else { "ours" };
            bar(&mut svg, y, row, longest, digits, &format!("class=\"{class}\""));
        }
    }
    svg.push_str("</svg>\n");
    svg
}

/// One bar at the height `y`, painted so, between its name and its figure.
fn bar(svg: &mut String, y: f64, row: &Row, longest: f64, digits: usize, paint: &str) {
    let length = (row.best() / longest).max(0.0) * (WIDTH - LABELS - 90.0);
    let (text, name) = (y + LINE * 0.65, row.name.replace('*', ""));
    let _ = writeln!(
        svg,
        "<text x=\"{:.0}\" y=\"{text:.1}\" text-anchor=\"end\">{name}</text>\
         <rect x=\"{LABELS}\" y=\"{:.1}\" width=\"{length:.1}\" height=\"{:.1}\" {paint}/>\
         <text x=\"{:.1}\" y=\"{text:.1}\">{:.digits$}</text>",
        LABELS - 8.0,
        y + 3.0,
        LINE - 6.0,
        LABELS + length + 6.0,
        row.best(),
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cases::CASES;
    use crate::contestants::Driver;

    #[test]
    fn the_summary_has_both_drivers_and_only_the_best_peer() {
        let row = |name: &str, role, figure| Row {
            name: name.to_owned(),
            role,
            figures: vec![figure],
            turns: 1,
            rate: 0.0,
            p99: 0.0,
        };
        let rows = vec![
            row("**ours-1**", Role::Ours(Driver::Epoll), 1.0),
            row("**ours-2**", Role::Ours(Driver::Tokio), 2.0),
            row("floor", Role::Floor(Driver::Epoll), 0.5),
            row("slow", Role::Peer, 8.0),
            row("fast", Role::Peer, 4.0),
        ];
        let svg = summary(&[(CASES[0], rows.clone()), (CASES[4], rows)]);
        assert!(!svg.contains("slow") && !svg.contains("floor"), "{svg}");
        for name in [">ours-1<", ">ours-2<", ">fast<"] {
            assert_eq!(svg.matches(name).count(), 2, "{svg}");
        }
        // The longest bar has the full width, and ours is in proportion.
        assert!(
            svg.contains("width=\"430.0\"") && svg.contains("width=\"107.5\""),
            "{svg}"
        );
    }
}
