//! The actions of the page's buttons, if the settings permit them.

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

/// The duration of a demonstration of draining.
const DRAIN: Duration = Duration::from_secs(2);
/// The flood for a slow reader: number of messages, and bytes of each.
const FLOOD: (u64, usize) = (2000, 8000);
const CHANNEL: &str = "demo:flood";

/// Only one slow reader runs at a time.
static BUSY: AtomicBool = AtomicBool::new(false);

/// A demonstration in progress.
pub(super) struct Demo;

impl Demo {
    /// Begins a demonstration. `None` if the request is already answered.
    pub(super) fn new(
        visitor: &Visitor,
        request: &Request<'_>,
        answer: &mut Responder<'_, '_>,
    ) -> Result<Option<Self>, Misuse> {
        let app = visitor.app();
        if !app.settings().demo {
            return answer.send(404, PLAIN, b"not found\n").map(|()| None);
        }
        // Pages of other sites cannot send this field.
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
                // The demonstration's client uses neither TLS nor a PROXY header.
                None => answer
                    .send(503, PLAIN, b"this is shown only without TLS and without PROXY headers")
                    .map(|()| None),
            },
            _ => answer.send(404, PLAIN, b"not found\n").map(|()| None),
        }
    }

    /// The demonstration has ended.
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

/// Subscribes, does not read while a flood is published, then reads, and reports the result.
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
