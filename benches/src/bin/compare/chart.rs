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
        let length = (row.best() / longest).max(0.0) * (WIDTH - LABELS - 90.0);
        let (text, name) = (y + LINE * 0.65, row.name.replace('*', ""));
        let _ = writeln!(
            svg,
            "<text x=\"{:.0}\" y=\"{text:.1}\" text-anchor=\"end\">{name}</text>\
             <rect x=\"{LABELS}\" y=\"{:.1}\" width=\"{length:.1}\" height=\"{:.1}\" fill=\"{color}\"/>\
             <text x=\"{:.1}\" y=\"{text:.1}\">{:.digits$}</text>",
            LABELS - 8.0,
            y + 3.0,
            LINE - 6.0,
            LABELS + length + 6.0,
            row.best(),
        );
    }
    svg.push_str("</svg>\n");
    svg
}
