//! The API for back ends: JSON over HTTP.

mod answer;
mod command;
mod gather;

use std::sync::Arc;

use proto_http::{Misuse, Request, Responder};
use protocol::Sender;
use serde_json::json;

use self::answer::{Topic, describe, status};
use self::command::{Command, Named};
use self::gather::Gather;
use super::Visitor;
use super::cors::Readers;
use crate::app::App;
use crate::channel::Name;
use crate::messages::{Code, Failure};
use crate::node::{self, Outcome, Post};

const JSON: &[(&str, &str)] = &[("Content-Type", "application/json"), ("Cache-Control", "no-store")];
/// The description of the API.
const OPENAPI: &str = include_str!("../../../openapi.json");
/// The most clients in an answer about presence.
const MOST_CLIENTS: usize = 10_000;
/// The most commands in a batch, the most publications of all of them, and the most commands that read a history or presence, whose answers
/// are long.
const MOST_COMMANDS: usize = 1000;
const MOST_PUBLICATIONS: usize = 1000;
const MOST_READS: usize = 16;

/// An API call in progress.
pub(super) struct Call {
    what: What,
    body: Vec<u8>,
    readers: Readers,
}

enum What {
    /// A command that only reads.
    Ask(Command),
    /// The body is a command.
    Do(&'static str),
    Batch,
    /// Waits for the broker's answers.
    Wait {
        topics: Vec<(&'static str, Topic)>,
        is_batch: bool,
    },
    /// Answered.
    Over,
}

/// The paths of the API that take a body.
const POSTS: [&str; 6] = [
    "/api/publish",
    "/api/batch",
    "/api/disconnect",
    "/api/unsubscribe",
    "/api/revoke",
    "/api/drain",
];
/// The paths of the API that only read.
const GETS: [&str; 4] = ["/api/history", "/api/presence", "/api/channels", "/api/nodes"];

/// All paths of the API.
#[cfg(test)]
pub(crate) const PATHS: [&[&str]; 2] = [&POSTS, &GETS];

impl Call {
    /// Begins a call. `None` if it is already answered.
    pub(super) fn new(
        visitor: &Visitor,
        request: &Request<'_>,
        answer: &mut Responder<'_, '_>,
    ) -> Result<Option<Self>, Misuse> {
        let readers = Readers::of(request, &visitor.app().settings());
        if request.path() == "/api/openapi.json" {
            if !matches!(request.method(), "GET" | "HEAD") {
                return wrong_method(answer, &readers, "GET, HEAD, OPTIONS").map(|()| None);
            }
            let fields = (JSON, readers.fields());
            return answer.send(200, &fields, OPENAPI.as_bytes()).map(|()| None);
        }
        let post = POSTS.into_iter().find(|path| *path == request.path());
        if post.is_none() && !GETS.contains(&request.path()) {
            let missing = Failure::new(Code::BadRequest, "the API has no such call");
            return fail(answer, &readers, 404, missing).map(|()| None);
        }
        let (is_allowed, allow) = match post {
            Some(_) => (request.method() == "POST", "POST, OPTIONS"),
            None => (matches!(request.method(), "GET" | "HEAD"), "GET, HEAD, OPTIONS"),
        };
        if !is_allowed {
            return wrong_method(answer, &readers, allow).map(|()| None);
        }
        let shown = request.fields().get("authorization").and_then(bearer);
        let settings = visitor.app().settings();
        let known = &settings.api_token;
        if !known.as_ref().zip(shown).is_some_and(|(known, shown)| known.is(shown)) {
            let path = request.path();
            let how = if shown.is_none() { "no" } else { "a wrong" };
            visitor
                .app()
                .notices
                .api
                .say(|| format!("a call of {path} with {how} API token was refused"));
            return unauthorized(answer, &readers, "this needs the API token").map(|()| None);
        }
        let what = match post {
            Some("/api/batch") => What::Batch,
            Some(path) => What::Do(path),
            None => match command::asked(request) {
                Ok(command) => What::Ask(command),
                Err(failure) => return fail(answer, &readers, 400, failure).map(|()| None),
            },
        };
        Ok(Some(Call {
            what,
            body: Vec::new(),
            readers,
        }))
    }

    /// Adds a part of the body, whose size the server limits.
    pub(super) fn data(&mut self, data: &[u8]) {
        self.body.extend_from_slice(data);
    }

    /// The request is complete: carries it out.
    pub(super) fn end(
        &mut self,
        app: &Arc<App>,
        sender: &Sender<Post>,
        answer: &mut Responder<'_, '_>,
    ) -> Result<(), Misuse> {
        let body = core::mem::take(&mut self.body);
        let one = |command| vec![("", command)];
        let (commands, is_batch): (Vec<Named>, bool) = match core::mem::replace(&mut self.what, What::Over) {
            What::Ask(command) => (one(Ok(command)), false),
            What::Do(path) => (one(command::single(path, &body)), false),
            What::Batch => match command::batch(&body, MOST_COMMANDS) {
                Ok(commands) => (commands, true),
                Err(failure) => return fail(answer, &self.readers, batch_status(failure), failure),
            },
            What::Wait { .. } | What::Over => return Ok(()),
        };
        let mut room = Room {
            publications: MOST_PUBLICATIONS,
            reads: MOST_READS,
        };
        let commands: Vec<_> = commands
            .into_iter()
            .map(|(name, command)| (name, command.and_then(|command| room.admit(command))))
            .collect();
        let topics: Vec<_> = commands
            .iter()
            .map(|(name, command)| (*name, topic(app, command)))
            .collect();
        let questions = topics.iter().map(|(_, topic)| topic.questions()).sum();
        if questions == 0 {
            return give(topics, is_batch, Vec::new(), &self.readers, answer);
        }
        let gather = Gather::new(sender.clone(), questions);
        let mut index = 0;
        for ((_, command), (_, topic)) in commands.into_iter().zip(&topics) {
            if let Ok(command) = command {
                ask(app, command, topic, &gather, index);
            }
            index += topic.questions();
        }
        self.what = What::Wait { topics, is_batch };
        Ok(())
    }

    /// The broker has answered all questions.
    pub(super) fn answered(
        &mut self,
        app: &App,
        outcome: node::Answer,
        answer: &mut Responder<'_, '_>,
    ) -> Result<(), Misuse> {
        let Outcome::All(outcomes) = outcome.outcome else {
            return Ok(());
        };
        let failed = outcomes
            .iter()
            .filter(|outcome| matches!(outcome, Outcome::Published(Err(_))));
        let failed = failed.count();
        if failed > 0 {
            app.node.counters.publish_failures.add(failed as u64);
            app.notices
                .publications
                .say(|| format!("{failed} publications of the API failed"));
        }
        match core::mem::replace(&mut self.what, What::Over) {
            What::Wait { topics, is_batch } if answer.is_due() => {
                give(topics, is_batch, outcomes, &self.readers, answer)
            }
            _ => Ok(()),
        }
    }
}

/// What the commands of a batch may still do.
struct Room {
    publications: usize,
    reads: usize,
}

impl Room {
    fn admit(&mut self, command: Command) -> Result<Command, Failure> {
        let (place, count) = match &command {
            Command::Publish { channels, .. } => (&mut self.publications, channels.len()),
            Command::History { .. } | Command::Presence { .. } => (&mut self.reads, 1),
            _ => return Ok(command),
        };
        *place = place.checked_sub(count).ok_or(Failure::new(
            Code::TooMany,
            "a request publishes 1000 times at most, and reads 16 histories and presences at most",
        ))?;
        Ok(command)
    }
}

/// What the answer to a command tells of.
fn topic(app: &App, command: &Result<Command, Failure>) -> Topic {
    let topic = match command {
        Err(failure) => Err(*failure),
        Ok(Command::Publish { channels, is_one, .. }) => match (channels.first(), is_one) {
            (Some(channel), true) => may_publish(app, channel).map(|()| Topic::Published),
            _ => {
                let refused = |channel: &Name| (channel.clone(), may_publish(app, channel).err());
                Ok(Topic::PublishedIn(channels.iter().map(refused).collect()))
            }
        },
        Ok(Command::History { channel, .. }) => app.rule(channel).map(|_| Topic::History(channel.clone())),
        Ok(Command::Presence { channel }) => Ok(Topic::Presence(channel.clone())),
        Ok(Command::Channels { pattern }) => Ok(Topic::Known(answer::channels(app, pattern.as_ref()))),
        Ok(Command::Nodes) => Ok(Topic::Known(json!({ "nodes": app.node.samples() }).to_string())),
        Ok(Command::Order(_) | Command::Revoke(_)) => Ok(Topic::Done),
    };
    topic.unwrap_or_else(Topic::Failed)
}

fn may_publish(app: &App, channel: &Name) -> Result<(), Failure> {
    if channel.is_reserved() {
        return Err(Failure::new(
            Code::Forbidden,
            "channels that begin with $ are comet's own",
        ));
    }
    app.rule(channel).map(drop)
}

/// Asks the broker for what a command needs, from the question `index` on.
fn ask(app: &App, command: Command, topic: &Topic, gather: &Arc<Gather>, index: usize) {
    let broker = app.node.broker();
    match command {
        _ if topic.questions() == 0 => {}
        Command::Publish { draft, channels, .. } => {
            let allowed = channels.into_iter().filter_map(|channel| {
                let is_allowed = may_publish(app, &channel).is_ok();
                let rule = app.rule(&channel).ok().filter(|_| is_allowed)?;
                Some((channel, rule))
            });
            for (at, (channel, rule)) in allowed.enumerate() {
                let draft = crate::publication::Draft {
                    channel,
                    ..draft.clone()
                };
                app.publish(draft, &rule, None, gather.done(index + at, Outcome::Published));
            }
        }
        Command::History { channel, part, limit } => {
            if let Ok(rule) = app.rule(&channel) {
                let mut keep = rule.keep;
                keep.publications = keep.publications.min(limit);
                broker.snapshot(&channel, part, keep, gather.done(index, Outcome::Snapshot));
            }
        }
        Command::Presence { channel } => {
            broker.presence(&channel, MOST_CLIENTS, gather.done(index, Outcome::Presence));
        }
        Command::Order(order) => app.node.order(&order, gather.done(index, Outcome::Published)),
        Command::Revoke(revocation) => {
            app.node.revoke(&revocation, gather.done(index, Outcome::Published));
        }
        Command::Channels { .. } | Command::Nodes => {}
    }
}

/// Gives the answer.
fn give(
    topics: Vec<(&'static str, Topic)>,
    is_batch: bool,
    outcomes: Vec<Outcome>,
    readers: &Readers,
    answer: &mut Responder<'_, '_>,
) -> Result<(), Misuse> {
    let fields = (JSON, readers.fields());
    let mut outcomes = outcomes.into_iter();
    let mut answers = topics
        .into_iter()
        .map(|(name, topic)| (name, topic.answer(&mut outcomes)));
    if !is_batch {
        return match answers.next() {
            Some((_, Ok(json))) => answer.send_shared(200, &fields, json.into_bytes().into()),
            Some((_, Err(failure))) => fail(answer, readers, status(failure.code), failure),
            None => Ok(()),
        };
    }
    let mut replies = "{\"replies\":[".to_owned();
    for (index, (name, outcome)) in answers.enumerate() {
        let comma = if index > 0 { "," } else { "" };
        let (name, json) = match outcome {
            Ok(json) => (name, json),
            Err(failure) => ("error", describe(failure)),
        };
        replies.push_str(&format!("{comma}{{\"{name}\":{json}}}"));
    }
    replies.push_str("]}");
    answer.send_shared(200, &fields, replies.into_bytes().into())
}

fn batch_status(failure: Failure) -> u16 {
    match failure.code {
        // The request itself is too large, and will be the next time.
        Code::TooMany => 413,
        code => status(code),
    }
}

/// The token of an `Authorization` field with the scheme Bearer (RFC 6750 section 2.1).
pub(super) fn bearer(value: &[u8]) -> Option<&[u8]> {
    // The scheme is case-insensitive (RFC 9110 section 11.1).
    let (scheme, token) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

/// Answers that the token is missing or invalid.
pub(super) fn unauthorized(answer: &mut Responder<'_, '_>, readers: &Readers, why: &'static str) -> Result<(), Misuse> {
    let fields = ([JSON[0], JSON[1], ("WWW-Authenticate", "Bearer")], readers.fields());
    let failure = Failure::new(Code::Forbidden, why);
    answer.send(401, &fields, describe(failure).as_bytes())
}

/// Answers a request with a method that its path does not have.
pub(super) fn wrong_method(answer: &mut Responder<'_, '_>, readers: &Readers, allow: &str) -> Result<(), Misuse> {
    let failure = Failure::new(Code::BadRequest, "this path has other methods, which Allow names");
    let fields = ([JSON[0], JSON[1], ("Allow", allow)], readers.fields());
    answer.send(405, &fields, describe(failure).as_bytes())
}

/// Answers with a failure.
pub(super) fn fail(
    answer: &mut Responder<'_, '_>,
    readers: &Readers,
    status: u16,
    failure: Failure,
) -> Result<(), Misuse> {
    answer.send(status, &(JSON, readers.fields()), describe(failure).as_bytes())
}

/// Answers with a failure that concerns one channel.
pub(super) fn fail_in(
    answer: &mut Responder<'_, '_>,
    readers: &Readers,
    status: u16,
    failure: Failure,
    channel: &Name,
) -> Result<(), Misuse> {
    let Failure { code, reason } = failure;
    let body = json!({ "code": code, "reason": reason, "channel": channel });
    answer.send(status, &(JSON, readers.fields()), body.to_string().as_bytes())
}
