//! permessage-deflate beside its engine alone: the costs that framing, masking, checks and limits add to compression.

use std::rc::Rc;

use benches::turns::Job;

use benches::suite::{Bar, Row, Suite};

mod engines;
mod ours;
mod peers;

/// The task of a server.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Task {
    Send,
    Receive,
    /// Receives each message and sends it back.
    Echo,
}

struct Case {
    task: Task,
    level: i32,
    /// Whether both sides keep their contexts from one message to the next.
    takeover: bool,
    messages: Vec<String>,
}

type Make = fn(&Case) -> Option<Job>;

const MAKE: [Make; 4] = [engines::zlib_rs, engines::miniz_oxide, ours::connection, peers::yawc];

pub(crate) fn suite() -> Suite {
    let mut rows = Vec::new();
    for (task, does) in [(Task::Send, "send"), (Task::Receive, "receive"), (Task::Echo, "echo")] {
        for level in [1, 6] {
            for (takeover, mode) in [(true, "takeover"), (false, "no takeover")] {
                let name = format!("deflate: {does} 1 KiB JSON, level {level}, {mode}");
                rows.push(row(name, task, level, takeover));
            }
        }
    }
    Suite {
        contestants: &["zlib-rs alone", "miniz alone", "Connection", "yawc"],
        ours: "Connection",
        rivals: &["zlib-rs alone"],
        rows,
    }
}

fn row(name: String, task: Task, level: i32, takeover: bool) -> Row {
    let case = Rc::new(Case {
        task,
        level,
        takeover,
        messages: benches::json::messages(),
    });
    Row {
        name,
        bar: Some(Bar::Ratio(1.1)),
        batch: 512,
        check: {
            let case = Rc::clone(&case);
            Box::new(move || ours::check(&case))
        },
        job: Box::new(move |index| MAKE[index](&case)),
    }
}

/// An endless repetition of the same things.
struct Cycle<T> {
    things: Vec<T>,
    at: usize,
}

impl<T> Cycle<T> {
    fn new(things: Vec<T>) -> Self {
        Cycle { things, at: 0 }
    }

    fn next(&mut self) -> &T {
        let at = self.at;
        self.at = (at + 1) % self.things.len();
        &self.things[at]
    }
}
