//! What the page's buttons do, where the settings allow it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use proto_http::{Misuse, Request, Responder};
use protocol::Sender;
use serde_json::Value;
use serde_json::value::RawValue;

use super::{PLAIN, Visitor};
use crate::app::App;
use crate::broker::Done;
use crate::channel::{BadName, Name};
use crate::client::ws::Client;
use crate::messages::Id;
use crate::node::{self, Outcome, Post};
use crate::publication::Draft;

/// Over how long a demonstration of draining is spread.
const DRAIN: Duration = Duration::from_secs(2);
/// What a slow reader is sent: so many messages of so many bytes.
const FLOOD: (u64, usize) = (2000, 8000);
const CHANNEL: &str = "demo:flood";

/// There is one slow reader at a time.
static BUSY: AtomicBool = AtomicBool::new(false);

/// A demonstration under way, whose outcome is awaited.
pub(super) struct Demo;

impl Demo {
    /// Begins a demonstration; `None` when the request is answered already.
    pub(super) fn new(
        visitor: &Visitor,
        request: &Request<'_>,
        answer: &mut Responder<'_, '_>,
    ) -> Result<Option<Self>, Misuse> {
        let app = visitor.app();
        if !app.settings.demo {
            return answer.send(404, PLAIN, b"not found\n").map(|()| None);
        }
        // A field that pages of other sites cannot send.
        if request.method() != "POST" || request.fields().get("x-comet-demo").is_none() {
            return answer
                .send(403, PLAIN, b"this is for the page's buttons\n")
                .map(|()| None);
        }
        match request.path() {
            "/demo/drain" => {
                let clients = app.node.shed(DRAIN);
                let text = format!(
                    "{clients} subscribers are asked to come back, evenly over {} s.",
                    DRAIN.as_secs()
                );
                answer.send(200, PLAIN, text.as_bytes()).map(|()| None)
            }
            "/demo/slow-reader" => match app.address() {
                Some(address) if !BUSY.swap(true, Ordering::AcqRel) => {
                    let (app, sender) = (Arc::clone(app), visitor.sender.clone());
                    thread::spawn(move || {
                        tell(&sender, slow_reader(&app, address));
                        BUSY.store(false, Ordering::Release);
                    });
                    Ok(Some(Demo))
                }
                Some(_) => answer.send(503, PLAIN, b"there is one already").map(|()| None),
                // It is a client without TLS.
                None => answer
                    .send(503, PLAIN, b"this is shown without TLS alone")
                    .map(|()| None),
            },
            _ => answer.send(404, PLAIN, b"not found\n").map(|()| None),
        }
    }

    /// It has ended.
    pub(super) fn answered(&self, outcome: Outcome, answer: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        match outcome {
            Outcome::Said(text) if answer.is_due() => answer.send(200, PLAIN, text.as_bytes()),
            _ => Ok(()),
        }
    }
}

fn tell(sender: &Sender<Post>, outcome: io::Result<String>) {
    let text = outcome.unwrap_or_else(|error| format!("the slow reader failed: {error}"));
    let said = |outcome: Result<String, _>| Outcome::Said(outcome.unwrap_or_default());
    if let Ok(channel) = CHANNEL.parse() {
        node::Answer::to(sender.clone(), Id::NONE, channel, said).tell(Ok(text));
    }
}

/// Subscribes, does not read while a flood is published, then reads, and says what came of it.
fn slow_reader(app: &App, address: SocketAddr) -> io::Result<String> {
    let channel: Name = CHANNEL.parse().map_err(|error: BadName| io::Error::other(error))?;
    let keep = app
        .rule(&channel)
        .map_err(|failure| io::Error::other(failure.reason))?
        .keep;
    let mut client = Client::open(address, "/ws")?;
    client.send(&format!(r#"{{"type":"subscribe","channel":"{CHANNEL}"}}"#))?;
    let mut next = loop {
        let message: Value = serde_json::from_str(&client.receive()?)?;
        if message["type"] == "subscribed" {
            break message["offset"].as_u64().unwrap_or(0) + 1;
        }
    };
    let (count, size) = FLOOD;
    let data = serde_json::value::to_raw_value(&"x".repeat(size))?;
    for _ in 0..count {
        publish(app, &channel, keep, &data);
    }
    thread::sleep(Duration::from_secs(1));
    let (last, mut read, mut missed) = (next + count - 1, 0, 0);
    while next <= last {
        let message: Value = serde_json::from_str(&client.receive()?)?;
        let number = |name: &str| message[name].as_u64().unwrap_or(0);
        match message["type"].as_str() {
            Some("publication") if number("offset") == next => {
                (read, next) = (read + 1, next + 1);
            }
            Some("missed") if number("from") == next => {
                missed += number("to") + 1 - next;
                next = number("to") + 1;
            }
            _ => return Err(io::Error::other(format!("after {} came {message}", next - 1))),
        }
    }
    Ok(format!(
        "Of {count} messages the slow reader got {read}, and was told that {missed} had left the history. \
         None was lost without a word, and no more than one buffer of them waited in the server."
    ))
}

fn publish(app: &App, channel: &Name, keep: crate::log::Keep, data: &RawValue) {
    let draft = Draft::new(channel.clone(), None, data);
    app.node.broker().publish(draft, keep, Done::nobody());
}
