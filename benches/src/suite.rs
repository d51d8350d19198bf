//! Suites of measured cases, and the bars by which their results are judged.

use std::fmt;

use crate::turns::{self, Figures, Job};

/// Cases in which the same contestants take part.
pub struct Suite {
    /// Names, in the order of the columns.
    pub contestants: &'static [&'static str],
    /// The contestant that is judged.
    pub ours: &'static str,
    /// The contestants with the best of which ours is compared.
    pub rivals: &'static [&'static str],
    /// The cases.
    pub rows: Vec<Row>,
}

/// A case.
pub struct Row {
    /// The name of the case.
    pub name: String,
    /// The bar, if there is one.
    pub bar: Option<Bar>,
    /// The number of messages in a turn.
    pub batch: usize,
    /// Checks that ours does what the case says, and panics if not.
    pub check: Box<dyn Fn()>,
    /// The job of the contestant with this index; `None` if it does not take part.
    pub job: Box<dyn Fn(usize) -> Option<Job>>,
}

/// A limit that ours must meet.
#[derive(Debug, Clone, Copy)]
pub enum Bar {
    /// A number of nanoseconds, on the machine on which the bar was set.
    Nanos(f64),
    /// A multiple of the best rival's result in the same run.
    Ratio(f64),
}

impl fmt::Display for Bar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Bar::Nanos(nanos) => write!(f, "{nanos}"),
            Bar::Ratio(ratio) => write!(f, "{ratio:.2} x"),
        }
    }
}

/// The options of the command line.
pub struct Options {
    /// Turns of each contestant.
    pub rounds: usize,
    /// Run only rows whose names contain this text.
    pub only: String,
    /// Run only the contestant of this name; all if empty.
    pub contestant: String,
}

impl Options {
    /// Reads `--rounds=N` (15 by default), `--only=TEXT` and `--contestant=NAME`. Returns `None` if there is any other argument.
    pub fn from_arguments(arguments: impl IntoIterator<Item = String>) -> Option<Self> {
        let mut options = Options {
            rounds: 15,
            only: String::new(),
            contestant: String::new(),
        };
        for argument in arguments {
            match argument.split_once('=')? {
                ("--rounds", count) => options.rounds = count.parse().ok().filter(|count| *count > 0)?,
                ("--only", text) => options.only = text.to_owned(),
                ("--contestant", name) => options.contestant = name.to_owned(),
                _ => return None,
            }
        }
        Some(options)
    }
}

impl Suite {
    /// Measures the rows that the options choose, and prints them.
    pub fn run(&self, options: &Options) {
        let mut rows = self
            .rows
            .iter()
            .filter(|row| row.name.contains(&options.only))
            .peekable();
        if rows.peek().is_none() {
            return;
        }
        print!("{:<52}{:>9}", "ns each (allocations)", "bar");
        for name in self.contestants {
            print!("{name:>18}");
        }
        println!("{:>8}", "ratio");
        for row in rows {
            (row.check)();
            let chosen = |name: &str| options.contestant.is_empty() || options.contestant == name;
            let jobs = self.contestants.iter().enumerate();
            let mut jobs: Vec<_> = jobs
                .map(|(index, name)| chosen(name).then(|| (row.job)(index)).flatten())
                .collect();
            self.print(row, &turns::measure(&mut jobs, row.batch, options.rounds));
        }
        println!();
    }

    fn print(&self, row: &Row, figures: &[Option<Figures>]) {
        let bar = row.bar.map_or("-".to_owned(), |bar| bar.to_string());
        print!("{:<52}{bar:>9}", row.name);
        for figure in figures {
            match figure {
                Some(figure) => print!("{:>11.1} ({:>4.2})", figure.nanos, figure.allocations),
                None => print!("{:>18}", "-"),
            }
        }
        let best = |names: &[&str]| {
            let chosen = self.contestants.iter().zip(figures);
            let chosen = chosen.filter(|(name, _)| names.contains(name));
            let nanos = chosen.filter_map(|(_, figure)| figure.map(|figure| figure.nanos));
            nanos.fold(f64::INFINITY, f64::min)
        };
        let ratio = best(&[self.ours]) / best(self.rivals);
        if ratio.is_finite() && ratio > 0.0 {
            println!("{ratio:>8.2}");
        } else {
            println!("{:>8}", "-");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_choose_rounds_rows_and_contestants() {
        let options = |arguments: &[&str]| Options::from_arguments(arguments.iter().map(|text| (*text).to_owned()));
        let chosen = options(&["--rounds=3", "--only=mask: 1", "--contestant=memcpy"]).expect("all options are known");
        assert_eq!(
            (chosen.rounds, &*chosen.only, &*chosen.contestant),
            (3, "mask: 1", "memcpy")
        );
        for wrong in ["--rounds=0", "--rounds=x", "--rounds", "--any=1"] {
            assert!(options(&[wrong]).is_none(), "{wrong}");
        }
    }
}
