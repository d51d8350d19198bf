//! Frames and whole messages, without extensions.

use std::rc::Rc;

use benches::turns::Job;

use benches::suite::{Bar, Row, Suite};

mod cases;
mod ours;
mod peers;

use cases::{Case, cases};

pub(crate) use cases::Content;
pub(crate) use ours::Buffer;

type Make = fn(&Case) -> Option<Job>;

const MAKE: [Make; 9] = [
    ours::memcpy,
    ours::decoder,
    ours::connection,
    peers::websocket_sans_io,
    peers::tungstenite,
    peers::fastwebsockets,
    peers::tokio_websockets,
    peers::soketto,
    peers::yawc,
];

pub(crate) fn suite() -> Suite {
    Suite {
        contestants: &[
            "memcpy",
            "Decoder",
            "Connection",
            "sans-io",
            "tungstenite",
            "fastws",
            "tokio-ws",
            "soketto",
            "yawc",
        ],
        ours: "Connection",
        rivals: &["sans-io", "tungstenite", "fastws", "tokio-ws", "soketto", "yawc"],
        rows: cases().into_iter().map(row).collect(),
    }
}

fn row(case: Case) -> Row {
    let case = Rc::new(case);
    Row {
        name: case.name.to_owned(),
        bar: Some(Bar::Nanos(case.bar)),
        batch: case.batch(),
        check: {
            let case = Rc::clone(&case);
            Box::new(move || ours::check(&case))
        },
        job: Box::new(move |index| MAKE[index](&case)),
    }
}
