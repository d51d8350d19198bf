//! The back end that is told and asked: a small server of HTTP on a thread.

mod connect;
mod proxy;
mod webhook;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use serde_json::Value;

pub(super) const BACKEND_SECRET: &str = "fedcba9876543210fedcba9876543210";

/// A request that the back end got.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) path: String,
    pub(super) signature: String,
    pub(super) body: String,
}

impl Asked {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

type Answers = dyn Fn(&Asked) -> (u16, String) + Send + Sync;

/// A back end, which answers as the test says.
pub(super) struct Operator {
    pub(super) address: String,
    state: Arc<(Mutex<Vec<Asked>>, Condvar)>,
}

impl Operator {
    pub(super) fn new(answers: impl Fn(&Asked) -> (u16, String) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::<(Mutex<Vec<Asked>>, Condvar)>::default();
        let (answers, kept): (Arc<Answers>, _) = (Arc::new(answers), Arc::clone(&state));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (answers, kept) = (Arc::clone(&answers), Arc::clone(&kept));
                std::thread::spawn(move || serve(stream.unwrap(), &*answers, &kept));
            }
        });
        Operator { address, state }
    }

    /// The requests so far, once there are enough.
    pub(super) fn until(&self, enough: impl Fn(&[Asked]) -> bool) -> Vec<Asked> {
        let (asked, news) = &*self.state;
        let (asked, waited) = news
            .wait_timeout_while(asked.lock().unwrap(), Duration::from_secs(10), |asked| !enough(asked))
            .unwrap();
        assert!(!waited.timed_out(), "the back end has only heard {asked:#?}");
        asked.clone()
    }
}

/// Answers the requests of one connection.
fn serve(mut stream: TcpStream, answers: &Answers, state: &(Mutex<Vec<Asked>>, Condvar)) {
    let mut lines = BufReader::new(stream.try_clone().unwrap());
    loop {
        let mut head = Vec::new();
        loop {
            let mut line = String::new();
            if lines.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            if line == "\r\n" {
                break;
            }
            head.push(line);
        }
        let field = |name: &str| {
            let found = head.iter().filter_map(|line| line.split_once(": "));
            let found = found.filter(|(known, _)| known.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.trim_end().to_owned()).next()
        };
        let mut body = vec![0; field("content-length").unwrap().parse().unwrap()];
        lines.read_exact(&mut body).unwrap();
        let asked = Asked {
            path: head[0].split(' ').nth(1).unwrap().to_owned(),
            signature: field("comet-signature").unwrap_or_default(),
            body: String::from_utf8(body).unwrap(),
        };
        let (status, answer) = answers(&asked);
        state.0.lock().unwrap().push(asked);
        state.1.notify_all();
        let answer = format!(
            "HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{answer}",
            answer.len()
        );
        if stream.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}
