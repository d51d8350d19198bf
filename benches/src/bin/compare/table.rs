//! Markdown.

use std::fmt::Write;

use crate::cases::{Bar, Case, Kind};
use crate::contestants::{Driver, Role};

/// One server in one case.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) role: Role,
    /// Processor time or bytes, for each turn that counts.
    pub(crate) figures: Vec<f64>,
    /// All turns.
    pub(crate) turns: usize,
    /// Answers per second and the 99th percentile of latency in microseconds, at their best.
    pub(crate) rate: f64,
    pub(crate) p99: f64,
}

impl Row {
    /// The best round.
    pub(crate) fn best(&self) -> f64 {
        self.figures.iter().copied().fold(f64::INFINITY, f64::min)
    }

    fn median(&self) -> f64 {
        let mut figures = self.figures.clone();
        figures.sort_by(f64::total_cmp);
        figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
    }
}

fn floor(rows: &[Row], driver: Driver) -> Option<f64> {
    let floor = rows.iter().find(|row| row.role == Role::Floor(driver));
    floor.map(Row::best).filter(|best| *best > 0.0)
}

/// The table of one case.
pub(crate) fn markdown(case: &Case, rows: &[Row]) -> String {
    let peers = rows.iter().filter(|row| row.role == Role::Peer);
    let best_peer = peers.map(Row::best).fold(f64::INFINITY, f64::min);
    let idle = case.kind == Kind::Idle;
    let mut text = format!("### {}\n\n", case.name);
    let columns = if idle {
        ""
    } else {
        " median | turns | a second | p99, us |"
    };
    let lines = if idle { "" } else { "--:|--:|--:|--:|" };
    let _ = writeln!(
        text,
        "| server | {} | of its floor | of the best peer | bar |{columns}",
        case.measure()
    );
    let _ = writeln!(text, "|--|--:|--:|--:|:--|{lines}");
    for row in rows {
        let best = row.best();
        let digits = if idle { 0 } else { 3 };
        let driver = match row.role {
            Role::Ours(driver) | Role::Floor(driver) => Some(driver),
            Role::Peer => None,
        };
        let ratio = |to: Option<f64>| to.map_or(String::new(), |to| format!("{:.2}", best / to));
        let of_floor = ratio(driver.and_then(|driver| floor(rows, driver)));
        let of_peer = ratio(Some(best_peer).filter(|peer| peer.is_finite()));
        let bar = match row.role {
            Role::Ours(driver) => bar(case, driver, best, rows),
            _ => String::new(),
        };
        let _ = write!(
            text,
            "| {} | {best:.digits$} | {of_floor} | {of_peer} | {bar} |",
            row.name
        );
        if !idle {
            let (median, counted, turns) = (row.median(), row.figures.len(), row.turns);
            let _ = write!(
                text,
                " {median:.3} | {counted} of {turns} | {:.0} | {:.0} |",
                row.rate, row.p99
            );
        }
        text.push('\n');
    }
    text
}

fn bar(case: &Case, driver: Driver, best: f64, rows: &[Row]) -> String {
    let (text, most) = match case.bar(driver) {
        Some(Bar::Most(most)) => (format!("{most}"), Some(most)),
        Some(Bar::OfFloor(times)) => (
            format!("{times} x floor"),
            floor(rows, driver).map(|floor| floor * times),
        ),
        None => return String::new(),
    };
    match most {
        Some(most) if best <= most => format!("<= {text}: met"),
        Some(_) => format!("<= {text}: missed"),
        None => format!("<= {text}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cases::CASES;

    fn row(name: &str, role: Role, figures: &[f64]) -> Row {
        Row {
            name: name.to_owned(),
            role,
            figures: figures.to_vec(),
            turns: figures.len() + 1,
            rate: 1000.0,
            p99: 250.0,
        }
    }

    #[test]
    fn ratios_are_to_the_own_floor_and_the_best_peer_and_the_bar_is_judged() {
        let mut rows = vec![
            row("ours", Role::Ours(Driver::Epoll), &[4.4, 4.2, 6.3]),
            row("floor", Role::Floor(Driver::Epoll), &[4.0]),
            row("peer", Role::Peer, &[8.4, 9.0]),
        ];
        let text = markdown(&CASES[0], &rows);
        assert!(
            text.contains("| ours | 4.200 | 1.05 | 0.50 | <= 1.05 x floor: met | 4.400 | 3 of 4 | 1000 | 250 |"),
            "{text}"
        );
        rows[0].figures = vec![4.21];
        assert!(markdown(&CASES[0], &rows).contains("<= 1.05 x floor: missed"));
    }
}
