//! A client of the model, which records its messages.

use std::time::Duration;

use serde_json::Value;

use crate::tests::{Client, Rig};

/// The most bytes that a client reads in a step.
const TAKEN: usize = 32 << 10;

/// A client that follows one channel, and reconnects whenever it is disconnected.
pub(super) struct Listener {
    pub(super) node: usize,
    pub(super) channel: usize,
    name: String,
    client: Option<Client>,
    /// Whether it is subscribed.
    is_subscribed: bool,
    /// Until when it stays disconnected.
    away: Duration,
    position: Option<(String, u64)>,
    /// Received publications: time, epoch, offset and data.
    pub(super) got: Vec<(Duration, String, u64, String)>,
    /// When it was told that publications may be missing.
    pub(super) told: Vec<Duration>,
    /// The time of the first loss. Before it, no message may report a loss.
    lost: Option<Duration>,
    pub(super) began: Option<Duration>,
    pub(super) faults: Vec<String>,
}

impl Listener {
    pub(super) fn new(node: usize, channel: usize, name: String) -> Self {
        Listener {
            node,
            channel,
            name,
            client: None,
            is_subscribed: false,
            away: Duration::ZERO,
            position: None,
            got: Vec::new(),
            told: Vec::new(),
            lost: None,
            began: None,
            faults: Vec::new(),
        }
    }

    pub(super) fn leave(&mut self) {
        (self.client, self.is_subscribed) = (None, false);
    }

    /// Disconnects, and reconnects at `until` to `node`.
    pub(super) fn stay_away(&mut self, until: Duration, node: usize) {
        self.leave();
        (self.away, self.node) = (until, node);
    }

    /// Whether it is connected and subscribed.
    pub(super) fn is_there(&self) -> bool {
        self.is_subscribed
    }

    /// The judge does not require publications from before `at`.
    pub(super) fn is_told_nothing(&mut self, at: Duration) {
        self.told.push(at);
    }

    /// From `at` on, messages may report a loss.
    pub(super) fn may_be_told_of_losses(&mut self, at: Duration) {
        self.lost = Some(at);
    }

    fn is_told_of_a_loss(&mut self, at: Duration, message: &Value) {
        // A client that has received nothing may be told so without a loss.
        if self.lost.is_none() && self.position.as_ref().is_some_and(|position| position.1 > 0) {
            let position = &self.position;
            self.faults.push(format!(
                "at {at:?}, {position:?}: nothing was lost, and it is told {message}"
            ));
        }
        self.told.push(at);
    }

    /// Reads messages at the time `at`; connects first if needed.
    pub(super) fn listen(&mut self, nodes: &[Rig], at: Duration) {
        if at < self.away {
            return;
        }
        if self.client.is_none() {
            let mut client = nodes[self.node].client("");
            let since = match &self.position {
                Some((epoch, offset)) => format!(",\"epoch\":\"{epoch}\",\"offset\":{offset}"),
                None => String::new(),
            };
            let channel = &self.name;
            client.harness.set_window(Some(TAKEN));
            client.say(&format!(
                r#"{{"type":"subscribe","id":"s","channel":"{channel}"{since}}}"#
            ));
            self.client = Some(client);
        }
        if let Some(client) = &mut self.client {
            client.harness.set_window(Some(TAKEN));
        }
        while let Some(message) = self.client.as_mut().and_then(Client::next) {
            self.hear(&message, at);
        }
        if self
            .client
            .as_ref()
            .is_some_and(|client| client.harness.ended().is_some())
        {
            self.leave();
        }
    }

    fn hear(&mut self, message: &Value, at: Duration) {
        let epoch = || message["epoch"].as_str().unwrap_or_default().to_owned();
        let offset = message["offset"].as_u64().unwrap_or(0);
        match message["type"].as_str() {
            Some("subscribed") => {
                self.is_subscribed = true;
                let publications = message["publications"].as_array().unwrap();
                let before = offset - publications.len() as u64;
                if self.position.is_some() && message["recovered"] == false {
                    self.is_told_of_a_loss(at, message);
                    self.position = None;
                }
                let position = self.position.get_or_insert((String::new(), before));
                position.0 = epoch();
                for publication in publications {
                    self.take(publication, at);
                }
                if self.position.as_ref().map(|position| position.1) != Some(offset) {
                    self.faults
                        .push(format!("at {:?} it is said to be at {message}", self.position));
                }
                self.began.get_or_insert(at);
            }
            Some("publication") => self.take(message, at),
            Some("missed") => {
                self.is_told_of_a_loss(at, message);
                self.move_to(None, message["to"].as_u64().unwrap());
            }
            Some("reset") => {
                if message["recovered"] != true {
                    self.is_told_of_a_loss(at, message);
                } else if self.position.as_ref().map(|position| position.1) != Some(offset) {
                    self.faults
                        .push(format!("at {:?} the epoch changes at {message}", self.position));
                }
                self.move_to(Some(epoch()), offset);
            }
            // The subscription failed; it is retried.
            Some("error") => self.leave(),
            _ if message.get("close").is_some() => self.leave(),
            _ => self.faults.push(format!("unexpected: {message}")),
        }
    }

    fn move_to(&mut self, epoch: Option<String>, offset: u64) {
        if let Some(position) = &mut self.position {
            position.0 = epoch.unwrap_or_else(|| position.0.clone());
            position.1 = offset;
        }
    }

    fn take(&mut self, publication: &Value, at: Duration) {
        let (epoch, before) = self.position.clone().unwrap_or_default();
        let offset = publication["offset"].as_u64().unwrap();
        if offset != before + 1 {
            self.faults
                .push(format!("after {epoch}:{before} came {offset}, in silence"));
        }
        self.got
            .push((at, epoch.clone(), offset, publication["data"].to_string()));
        self.move_to(Some(epoch), offset);
    }
}
