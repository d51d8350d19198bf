//! Clients of the model, which record their messages, and the judge of the records.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;

use super::{CHANNELS, lock};
use crate::broker::{Done, Trouble};
use crate::publication::Position;
use crate::tests::{Client, Rig};

/// A client that follows one channel, and reconnects whenever it is disconnected.
pub(super) struct Listener {
    pub(super) node: usize,
    channel: usize,
    client: Option<Client>,
    /// Until when it stays disconnected.
    away: Duration,
    position: Option<(String, u64)>,
    /// Received publications: time, epoch, offset and data.
    got: Vec<(Duration, String, u64, String)>,
    /// When it was told that publications may be missing.
    told: Vec<Duration>,
    began: Option<Duration>,
    faults: Vec<String>,
}

impl Listener {
    pub(super) fn new(node: usize, channel: usize) -> Self {
        Listener {
            node,
            channel,
            client: None,
            away: Duration::ZERO,
            position: None,
            got: Vec::new(),
            told: Vec::new(),
            began: None,
            faults: Vec::new(),
        }
    }

    pub(super) fn leave(&mut self) {
        self.client = None;
    }

    /// Disconnects, and reconnects at `until` to another node.
    pub(super) fn stay_away(&mut self, until: Duration, node: usize) {
        self.leave();
        (self.away, self.node) = (until, node);
    }

    /// Excuses losses before `at`: the judge does not require those publications.
    pub(super) fn is_told_nothing(&mut self, at: Duration) {
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
            let channel = CHANNELS[self.channel];
            client.say(&format!(
                r#"{{"type":"subscribe","id":"s","channel":"{channel}"{since}}}"#
            ));
            self.client = Some(client);
        }
        while let Some(message) = self.client.as_mut().and_then(Client::next) {
            self.hear(&message, at);
        }
    }

    fn hear(&mut self, message: &Value, at: Duration) {
        let epoch = || message["epoch"].as_str().unwrap_or_default().to_owned();
        let offset = message["offset"].as_u64().unwrap_or(0);
        match message["type"].as_str() {
            Some("subscribed") => {
                let publications = message["publications"].as_array().unwrap();
                let before = offset - publications.len() as u64;
                match &mut self.position {
                    None => self.position = Some((epoch(), before)),
                    Some(position) if message["recovered"] == false => {
                        self.told.push(at);
                        *position = (epoch(), before);
                    }
                    Some(_) => {}
                }
                if let Some(position) = &mut self.position {
                    position.0 = epoch();
                }
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
                self.told.push(at);
                self.move_to(None, message["to"].as_u64().unwrap());
            }
            Some("reset") => {
                if message["recovered"] != true {
                    self.told.push(at);
                } else if self.position.as_ref().map(|position| position.1) != Some(offset) {
                    self.faults
                        .push(format!("at {:?} the epoch changes at {message}", self.position));
                }
                self.move_to(Some(epoch()), offset);
            }
            // The subscription failed; it is retried.
            Some("error") => self.client = None,
            _ if message.get("close").is_some() => self.client = None,
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

/// The result of a publication: its position, if it was accepted.
type Outcome = Option<Result<Position, Trouble>>;

pub(super) struct Published {
    channel: usize,
    data: String,
    at: Duration,
    outcome: Arc<Mutex<Outcome>>,
}

impl Published {
    pub(super) fn new(channel: usize, data: String, at: Duration) -> Self {
        Published {
            channel,
            data,
            at,
            outcome: Arc::default(),
        }
    }

    pub(super) fn done(&self) -> Done<Position> {
        let outcome = Arc::clone(&self.outcome);
        Done::new(move |told| *lock(&outcome) = Some(told))
    }
}

/// Finds problems. Publications from number `last` on were made at the end, without faults.
pub(super) fn judge(listeners: &[Listener], published: &[Published], last: usize) -> Vec<String> {
    let (mut faults, mut failed) = (Vec::new(), 0);
    let mut places: HashMap<(usize, String, u64), &str> = HashMap::new();
    for (number, publication) in published.iter().enumerate() {
        let outcome = *lock(&publication.outcome);
        match outcome {
            Some(Ok(Position { epoch, offset })) => {
                let place = (publication.channel, epoch.to_string(), offset);
                if let Some(other) = places.insert(place, &publication.data) {
                    faults.push(format!(
                        "{epoch}:{offset} was acknowledged for {other} and {}",
                        publication.data
                    ));
                }
            }
            None => faults.push(format!("{} has no outcome", publication.data)),
            // The network cuts a few connections until the end.
            Some(Err(_)) => failed += usize::from(number >= last),
        }
    }
    if failed > (published.len() - last) / 2 {
        faults.push(format!("{failed} of {} failed at the end", published.len() - last));
    }
    for (index, listener) in listeners.iter().enumerate() {
        faults.extend(listener.faults.iter().map(|fault| format!("{index}: {fault}")));
        let mut seen: HashMap<&str, Duration> = HashMap::new();
        for (at, epoch, offset, data) in &listener.got {
            let place = (listener.channel, epoch.clone(), *offset);
            let known = *places.entry(place).or_insert(data);
            if known != data {
                faults.push(format!("{index}: {epoch}:{offset} is {data}, and elsewhere {known}"));
            }
            // After a loss, the remaining publications are sent from the beginning.
            let lost = |first: &Duration| listener.told.iter().any(|told| first <= told && told <= at);
            if seen.insert(data, *at).is_some_and(|first| !lost(&first)) {
                faults.push(format!("{index}: {data} came twice"));
            }
        }
        let lost = listener.told.last().copied().unwrap_or_default();
        for publication in published
            .iter()
            .filter(|publication| publication.channel == listener.channel)
        {
            let outcome = *lock(&publication.outcome);
            let came = seen.contains_key(&publication.data[..]);
            let began = listener.began.is_some_and(|began| began < publication.at);
            match outcome {
                Some(Ok(position)) if !came && began && lost < publication.at => {
                    let what = &publication.data;
                    faults.push(format!("{index}: {what}, acknowledged at {position:?}, never came"));
                }
                Some(Err(Trouble::Unavailable)) if came => {
                    faults.push(format!("{index}: {} came, which was refused", publication.data));
                }
                _ => {}
            }
        }
    }
    faults
}
