//! Centrifugo's protocol in JSON, over a WebSocket or a stream of events: another language of the same session.
//!
//! A client sends commands, one a line, and first `connect`. `docs/comet-centrifugo.md` says what differs from Centrifugo.

mod read;
mod write;

use std::time::Instant;

use serde_json::value::RawValue;

use self::read::Command;
use super::dialect::{Closing, Dialect};
use super::wire::Wire;
use super::{Asked, ENDED_FOR_GOOD, Session};
use crate::broker::Part;
use crate::channel::Name;
use crate::messages::{Code, Failure, Id, MOST, Reply, Request};
use crate::publication::{Epoch, Position};
use crate::token::BadToken;

pub(crate) use self::read::Connect;
pub(super) use self::write::write;
pub(crate) use self::write::{push_of, push_of_delta};

/// Flags of ids, above the 32 bits of the client's number: what the answer is to look like.
const STATS: u64 = 1 << 32;
const REVERSED: u64 = 1 << 33;

impl Session {
    /// Handles the commands of one message.
    pub(super) fn commands(&mut self, out: &mut impl Wire, now: Instant, text: &str) {
        for line in text.split('\n').filter(|line| !line.trim().is_empty()) {
            // Structures could be read from arrays as well.
            let is_object = line.trim_start().starts_with('{');
            let command = serde_json::from_str::<Command<'_>>(line).ok().filter(|_| is_object);
            let Some(command) = command else {
                self.end_all();
                return self.dialect.close(out, Closing::BadRequest);
            };
            let id = Id::Number(u64::from(command.id));
            match self.may_ask(now).and_then(|()| self.command(out, command)) {
                Ok(None) => {}
                Ok(Some(closing)) => {
                    self.end_all();
                    return self.dialect.close(out, closing);
                }
                Err(failure) => self.dialect.fail(out, &id, failure),
            }
        }
    }

    /// Carries out a command. Returns why the connection must end, if it must.
    fn command(&mut self, out: &mut impl Wire, command: Command<'_>) -> Result<Option<Closing>, Failure> {
        let number = u64::from(command.id);
        let id = Id::Number(number);
        if let Some(connect) = command.connect {
            if self.is_connected || number == 0 {
                return Ok(Some(Closing::BadRequest));
            }
            return self.connect(out, &id, &connect);
        }
        if !self.is_connected {
            return Ok(Some(Closing::BadRequest));
        }
        if number == 0 {
            // A pong, or a message to which there is no answer: comet passes such messages to nobody.
            self.waits_for_pong = false;
            return Ok(None);
        }
        let request = if let Some(subscribe) = command.subscribe {
            if !subscribe.token.is_empty() {
                return Err(Failure::new(
                    Code::NotAvailable,
                    "tokens for a single subscription are not supported",
                ));
            }
            Request::Subscribe {
                channel: subscribe.channel()?,
                since: subscribe.position(),
                limit: 0,
                delta: subscribe.takes_deltas(),
            }
        } else if let Some(of) = command.unsubscribe {
            let channel = of.channel()?;
            if self.find_asked(&channel).is_none() {
                // As Centrifugo answers.
                self.dialect.reply(
                    out,
                    &crate::messages::Reply::Unsubscribed {
                        id: Some(&id),
                        channel: &channel,
                        code: None,
                        reason: None,
                        number: 0,
                    },
                );
                return Ok(None);
            }
            Request::Unsubscribe { channel }
        } else if let Some(publish) = command.publish {
            Request::Publish {
                channel: publish.channel()?,
                data: publish.data.unwrap_or(RawValue::NULL),
                key: None,
            }
        } else if let Some(of) = command.presence {
            Request::Presence { channel: of.channel()? }
        } else if let Some(of) = command.presence_stats {
            let request = Request::Presence { channel: of.channel()? };
            return self.serve(out, &Id::Number(number | STATS), request).map(|()| None);
        } else if let Some(history) = command.history {
            let offset = history.since.as_ref().map(|since| since.offset);
            let request = Request::History {
                channel: history.channel()?,
                part: match (history.reverse, offset) {
                    (false, offset) => Part::After(offset.unwrap_or(0)),
                    (true, Some(offset)) => Part::Before(offset),
                    (true, None) => Part::Newest,
                },
                limit: usize::try_from(history.limit).unwrap_or(MOST).min(MOST),
            };
            let flags = if history.reverse { REVERSED } else { 0 };
            return self.serve(out, &Id::Number(number | flags), request).map(|()| None);
        } else if command.ping.is_some() {
            Request::Ping
        } else if let Some(refresh) = command.refresh {
            return self.refresh(out, &id, &refresh.token);
        } else if command.sub_refresh.is_some() {
            return Err(Failure::new(
                Code::NotAvailable,
                "tokens for a single subscription are not supported",
            ));
        } else if command.rpc.is_some() || command.send.is_some() {
            return Err(Failure::new(Code::NoMethod, "comet has no methods"));
        } else {
            return Ok(Some(Closing::BadRequest));
        };
        self.serve(out, &id, request).map(|()| None)
    }

    /// The client says who it is, and is subscribed to the channels that it and its token name.
    fn connect(&mut self, out: &mut impl Wire, id: &Id, connect: &Connect<'_>) -> Result<Option<Closing>, Failure> {
        if !connect.token.is_empty() {
            match self.app.claims(&connect.token) {
                Ok(claims) => self.rights = Some(Box::new(self.app.rights(claims, &self.me))),
                Err(BadToken::Time) => return Err(Failure::new(Code::TokenExpired, BadToken::Time.reason())),
                Err(_) => return Ok(Some(Closing::InvalidToken)),
            }
        }
        let mut channels = Vec::new();
        for (name, since) in &connect.subs {
            let Ok(channel) = name.parse::<Name>() else {
                return Ok(Some(Closing::BadRequest));
            };
            channels.push((channel, since.position()));
        }
        // Asked at most once: another `connect` is not expected meanwhile.
        let is_asked = self.ask_to_connect(id, connect.data, channels.clone());
        if is_asked.inspect_err(|failure| self.not_admitted(out, id, *failure)) != Ok(false) {
            return Ok(None);
        }
        self.is_connected = true;
        Ok(self.welcome(out, id, None, channels))
    }

    /// Subscribes the client to these channels, and to those that its token names. Returns why the connection must end, if it must.
    pub(super) fn subscribe_by_server(
        &mut self,
        out: &mut impl Wire,
        mut channels: Vec<(Name, Option<Position>)>,
    ) -> Option<Closing> {
        let named = self.claims().map(|claims| claims.channels.clone()).unwrap_or_default();
        for channel in named {
            if channels.iter().all(|(known, _)| *known != channel) {
                channels.push((channel, None));
            }
        }
        for (channel, since) in channels {
            if let Err(failure) = self.subscribe_to(out, &channel, since) {
                return match failure.code {
                    Code::Forbidden | Code::NoSuchChannel => Some(Closing::Forbidden),
                    _ => Some(Closing::Again),
                };
            }
        }
        None
    }

    /// Subscribes a client of comet's own language to the channels that its token names, and that it is not subscribed to.
    pub(super) fn subscribe_to_own(&mut self, out: &mut impl Wire) {
        if self.dialect != Dialect::Comet {
            return;
        }
        let named = self.claims().map(|claims| claims.channels.clone()).unwrap_or_default();
        for channel in named {
            if self.find(&channel).is_some() {
                continue;
            }
            if let Err(failure) = self.subscribe_to(out, &channel, None) {
                let gone = Reply::Unsubscribed {
                    id: None,
                    channel: &channel,
                    code: Some(failure.code),
                    reason: Some(failure.reason),
                    number: ENDED_FOR_GOOD,
                };
                self.dialect.reply(out, &gone);
            }
        }
    }

    fn subscribe_to(&mut self, out: &mut impl Wire, channel: &Name, since: Option<Position>) -> Result<(), Failure> {
        let asked = Asked {
            id: Id::NONE,
            since,
            limit: 0,
            delta: false,
            round: since.filter(|since| since.epoch == Epoch::NONE).map(|_| 0),
            by_server: true,
        };
        self.subscribe(out, channel, asked)
    }

    /// Begins a stream of events for a client that says who it is with its request. Returns why the stream must end, if it must.
    pub(crate) fn connect_one_way(&mut self, out: &mut impl Wire, connect: &Connect<'_>) -> Result<(), Failure> {
        if let Some(closing) = self.connect(out, &Id::NONE, connect)? {
            self.end_all();
            self.dialect.close(out, closing);
        }
        Ok(())
    }

    /// Replaces the rights of the client before they end.
    fn refresh(&mut self, out: &mut impl Wire, id: &Id, token: &str) -> Result<Option<Closing>, Failure> {
        match self.app.claims(token) {
            Ok(_) => {
                let token = token.into();
                self.serve(out, id, Request::Auth { token }).map(|()| None)
            }
            Err(BadToken::Time) => Ok(Some(Closing::Expired)),
            Err(_) => Ok(Some(Closing::InvalidToken)),
        }
    }

    /// Asks the client for a sign of life, if its language has such a question.
    pub(super) fn beat(&mut self, out: &mut impl Wire) {
        let closing = match self.dialect {
            // WebSocket has Pings of its own.
            Dialect::Comet => return,
            Dialect::Events => return out.text("{}"),
            Dialect::Centrifugo if !core::mem::replace(&mut self.waits_for_pong, true) => {
                if self.is_connected {
                    out.text("{}");
                }
                return;
            }
            Dialect::Centrifugo if self.is_connected => Closing::NoPong,
            Dialect::Centrifugo => Closing::Stale,
        };
        self.end_all();
        self.dialect.close(out, closing);
    }
}
