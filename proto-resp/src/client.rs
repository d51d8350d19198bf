//! A client's connection, without I/O: commands out, their replies in, and pushes between them.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::arguments::{self, Channels, Class, Written};
use crate::number::Header;
use crate::push::{Confirmation, Push, is_push_in_resp2};
use crate::{Arguments, Attributed, Buffer, Hello, Limits, Misuse, Rules, Value, ValueDecoder, Version, Violation};
use proto_buffer::all_or_nothing;

/// The next event of a client's connection.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum ClientEvent<T> {
    /// The handshake is over: the server's answer to HELLO, or null if the server speaks only RESP2.
    Ready(Value),
    /// The server refused the handshake, or announced unasked why it closes, with this error.
    Refused(Value),
    /// The reply to the command with this ticket. An error is a reply too.
    Reply(T, Value),
    /// Data that no command asked for.
    Push(Push),
}

/// A client's connection. Commands may be sent before the replies to earlier ones have arrived. Each reply comes with the
/// ticket of its command, in order; tickets have any type.
///
/// * **Output**, appended to the caller's buffer: [`hello`](Self::hello), [`command`](Self::command) and its like,
///   [`transaction`](Self::transaction), [`ping`](Self::ping).
/// * **Input**: [`next`](Self::next), [`take_unanswered`](Self::take_unanswered).
/// * **Getters**: the others.
///
/// Every command has one reply. The reply to SUBSCRIBE and similar commands is an array of the confirmations, which arrive
/// one by one, for each channel. Commands that change how replies are read are refused ([`Misuse::Unanswerable`]).
///
/// The confirmation of an unsubscription may also arrive unasked, when a slot of a cluster moves away, and then the command
/// that follows fails with an error. So the client sends a PING with a unique word after each unsubscription; the reply to
/// that PING shows where the replies to the command end. If the reply is not where it belongs, the connection fails
/// ([`Violation::Misordered`]), so that no command gets the reply of another.
///
/// ```
/// use proto_resp::{ClientConnection, ClientEvent, Rules, Value};
///
/// let mut connection = ClientConnection::new(Rules::DEFAULT);
/// let mut out = Vec::new();
/// connection.command("first", &("INCR", "visits"), &mut out)?;
/// connection.command("second", &("GET", "name"), &mut out)?;
///
/// let mut input = &b":7\r\n$3\r\nada\r\n"[..];
/// assert_eq!(connection.next(&mut input, &mut out)?, Some(ClientEvent::Reply("first", Value::Integer(7))));
/// assert_eq!(connection.next(&mut input, &mut out)?, Some(ClientEvent::Reply("second", Value::Bulk("ada".into()))));
/// assert_eq!(connection.next(&mut input, &mut out)?, None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct ClientConnection<T> {
    decoder: ValueDecoder,
    /// What each outstanding reply belongs to, in the order of the commands.
    waiting: VecDeque<Waiting<T>>,
    /// The server's counts of subscriptions: channels and patterns together, and sharded channels.
    totals: [u32; 2],
    /// Our counts of subscriptions: channels, and patterns.
    counts: [u32; 2],
    hello: Option<Box<Hello>>,
    /// The number of markers sent; each marker contains its number.
    markers: u32,
    state: State,
    /// Whether MULTI was sent, without EXEC or DISCARD yet.
    queueing: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Ready,
    Handshake,
    Refused,
}

#[derive(Debug)]
enum Waiting<T> {
    One(T),
    Subscription(Box<Subscription<T>>),
    Transaction(Box<Transaction<T>>),
    /// A PING of [`ping`](ClientConnection::ping).
    Ping,
    /// HELLO.
    Hello,
    /// The number of outstanding commands of the handshake, and the server's reply to HELLO.
    Handshake(u8, Box<Value>),
}

#[derive(Debug)]
struct Subscription<T> {
    ticket: T,
    channels: Channels,
    /// For an unsubscription: the number of the marker that ends its replies.
    marker: Option<u32>,
    /// The number of confirmations to come. Initially 0 without arguments: then as many as there are subscriptions when the first arrives,
    /// at least one.
    left: u32,
    confirmations: Vec<Value>,
    /// An error that arrived before the marker's reply.
    error: Option<Value>,
}

/// The text of a marker's PING, before the number.
const MARKER: &[u8] = b"proto-resp marker ";

impl<T> Subscription<T> {
    /// Whether all confirmations have arrived.
    fn is_confirmed(&self) -> bool {
        self.left == 0 && !self.confirmations.is_empty()
    }

    /// Whether `value` is the reply to the marker: its text, or in RESP2, while subscribed, an array of `pong` and the text.
    fn is_marked_by(&self, value: &Value) -> bool {
        let word = match value {
            Value::Array(values) => match &values[..] {
                [kind, word] if kind.as_bytes() == Some(b"pong") => word,
                _ => return false,
            },
            word => word,
        };
        let number = word.as_bytes().and_then(|word| word.strip_prefix(MARKER));
        let number = number.and_then(|number| core::str::from_utf8(number).ok()?.parse().ok());
        number.is_some() && number == self.marker
    }
}

#[derive(Debug)]
struct Transaction<T> {
    ticket: T,
    /// Replies to come before the reply to EXEC.
    left: u32,
    /// The first reply that is an error.
    error: Option<Value>,
}

impl<T> ClientConnection<T> {
    /// A connection in RESP2; [`hello`](Self::hello) may change the version.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        ClientConnection {
            decoder: ValueDecoder::new(Version::Resp2, rules),
            waiting: VecDeque::new(),
            totals: [0; 2],
            counts: [0; 2],
            hello: None,
            markers: 0,
            state: State::Ready,
            queueing: false,
        }
    }

    // Getters.

    /// The version in use.
    #[must_use]
    pub fn version(&self) -> Version {
        self.decoder.core.version
    }

    /// Whether commands may be sent: no handshake is in progress, and none was refused.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.state == State::Ready
    }

    /// The number of commands whose replies have not arrived.
    #[inline]
    #[must_use]
    pub fn outstanding(&self) -> usize {
        self.waiting.len()
    }

    /// Whether the next reply belongs to a [`ping`](Self::ping).
    #[must_use]
    pub fn is_ping_first(&self) -> bool {
        matches!(self.waiting.front(), Some(Waiting::Ping))
    }

    /// The number of confirmed subscriptions of all kinds.
    #[must_use]
    pub fn subscriptions(&self) -> u32 {
        self.totals.iter().fold(0, |sum, total| sum.saturating_add(*total))
    }

    /// Whether a value has begun to arrive and is incomplete, as far as the connection has read.
    #[must_use]
    pub fn is_inside_value(&self) -> bool {
        !self.decoder.is_between()
    }

    // Input.

    /// Returns the next event, or `None` when more input is needed. Takes the bytes it used off the front of `input`; pass the remaining
    /// bytes again, with newer ones after them. Further commands of a handshake are appended to `out`.
    ///
    /// # Errors
    ///
    /// The server broke the protocol or exceeded a limit. Nothing more can be read. After [`Refused`](ClientEvent::Refused), further input
    /// is dropped.
    pub fn next<B: Buffer + ?Sized>(
        &mut self,
        input: &mut &[u8],
        out: &mut B,
    ) -> Result<Option<ClientEvent<T>>, Violation> {
        loop {
            if self.state == State::Refused {
                *input = &[];
                return Ok(None);
            }
            let Some(value) = self.decoder.next(input)? else {
                return Ok(None);
            };
            let event = match value {
                Value::Push(values) => self.pushed(values, Vec::new()),
                Value::Array(values) if self.version() == Version::Resp2 && self.is_push_expected(&values) => {
                    self.pushed(values, Vec::new())
                }
                Value::Attributed(inner) => match *inner {
                    Attributed {
                        value: Value::Push(values),
                        attributes,
                    } => self.pushed(values, attributes),
                    inner => self.replied(Value::Attributed(Box::new(inner)), out)?,
                },
                value => self.replied(value, out)?,
            };
            if event.is_some() {
                return Ok(event);
            }
        }
    }

    /// When the connection is over: the tickets of all commands without a reply, in order.
    pub fn take_unanswered(&mut self) -> impl Iterator<Item = T> + use<T> {
        core::mem::take(&mut self.waiting)
            .into_iter()
            .filter_map(|waiting| match waiting {
                Waiting::One(ticket) => Some(ticket),
                Waiting::Subscription(subscription) => Some(subscription.ticket),
                Waiting::Transaction(transaction) => Some(transaction.ticket),
                Waiting::Ping | Waiting::Hello | Waiting::Handshake(..) => None,
            })
    }

    // Output.

    /// Begins the handshake, before any command. [`ClientEvent::Ready`] or [`ClientEvent::Refused`] reports its end. If `hello` asks for
    /// RESP2 and nothing else, the connection [`is_ready`](Self::is_ready) at once.
    ///
    /// The connection falls back to RESP2, with AUTH and CLIENT SETNAME in place of HELLO, if the server does not know HELLO (`-ERR unknown
    /// command`) or RESP3 (`-NOPROTO`), or does not accept a password in HELLO (`-NOAUTH`). Any other error is a refusal.
    ///
    /// # Errors
    ///
    /// [`Misuse::NotReady`] after commands or another handshake; [`Misuse::NoSpace`].
    pub fn hello<B: Buffer + ?Sized>(&mut self, hello: &Hello, out: &mut B) -> Result<(), Misuse> {
        if self.state != State::Ready || !self.waiting.is_empty() {
            return Err(Misuse::NotReady);
        }
        match hello.version {
            Version::Resp3 => {
                hello.write(out)?;
                // The server's reply to HELLO is in RESP3, unless it is an error.
                self.decoder.set_version(Version::Resp3);
                self.waiting.push_back(Waiting::Hello);
                self.state = State::Handshake;
                self.hello = Some(Box::new(hello.clone()));
            }
            Version::Resp2 => {
                let mut left = 0;
                all_or_nothing(out, |out| {
                    left = hello.write_apart(out)?;
                    Ok::<_, Misuse>(())
                })?;
                self.await_handshake(left, Value::Null);
            }
        }
        Ok(())
    }

    /// Sends a command. Its reply is returned with `ticket`.
    ///
    /// # Errors
    ///
    /// [`Misuse`], with nothing written: [`Outstanding`](Misuse::Outstanding) if too many commands wait for their replies,
    /// [`NotReady`](Misuse::NotReady) during a handshake, [`Unanswerable`](Misuse::Unanswerable), and the errors of
    /// [`write_command`](crate::write_command).
    #[inline]
    pub fn command<B: Buffer + ?Sized>(
        &mut self,
        ticket: T,
        arguments: &(impl Arguments + ?Sized),
        out: &mut B,
    ) -> Result<(), Misuse> {
        self.send(ticket, out, |out| arguments::write(out, arguments, None))
    }

    /// Sends a command up to its last argument, which has `len` bytes. The caller sends these bytes and a CRLF itself, without copying them
    /// to `out`.
    ///
    /// # Errors
    ///
    /// See [`command`](Self::command).
    pub fn command_before<B: Buffer + ?Sized>(
        &mut self,
        ticket: T,
        arguments: &(impl Arguments + ?Sized),
        len: usize,
        out: &mut B,
    ) -> Result<(), Misuse> {
        self.send(ticket, out, |out| arguments::write(out, arguments, Some(len)))
    }

    /// Sends a command that was encoded before.
    ///
    /// # Errors
    ///
    /// See [`command`](Self::command).
    pub fn prepared<B: Buffer + ?Sized>(
        &mut self,
        ticket: T,
        command: &PreparedCommand,
        out: &mut B,
    ) -> Result<(), Misuse> {
        self.send(ticket, out, |out| {
            out.put(&command.bytes)?;
            Ok(command.written)
        })
    }

    /// Sends commands between MULTI and EXEC. Their one reply is the reply to EXEC: an array of their replies, or null if a watched key has
    /// changed. If a command could not be queued, it is the first error.
    ///
    /// # Errors
    ///
    /// See [`command`](Self::command). The commands may not include subscriptions.
    pub fn transaction<B: Buffer + ?Sized>(
        &mut self,
        ticket: T,
        commands: &[impl Arguments],
        out: &mut B,
    ) -> Result<(), Misuse> {
        self.may_send()?;
        if self.queueing {
            return Err(Misuse::Unanswerable);
        }
        let left = u32::try_from(commands.len()).map_err(|_| Misuse::TooLarge)?;
        all_or_nothing(out, |out| {
            arguments::write(out, "MULTI", None)?;
            for command in commands {
                match arguments::write(out, command, None)?.class {
                    Class::One | Class::Client => {}
                    _ => return Err(Misuse::Unanswerable),
                }
            }
            arguments::write(out, "EXEC", None).map(drop)
        })?;
        self.waiting.push_back(Waiting::Transaction(Box::new(Transaction {
            ticket,
            left: left.saturating_add(1),
            error: None,
        })));
        Ok(())
    }

    /// Sends a PING whose reply produces no event.
    ///
    /// # Errors
    ///
    /// See [`command`](Self::command).
    pub fn ping<B: Buffer + ?Sized>(&mut self, out: &mut B) -> Result<(), Misuse> {
        self.may_send()?;
        arguments::write(out, "PING", None)?;
        self.waiting.push_back(Waiting::Ping);
        Ok(())
    }

    // Helpers.

    #[inline]
    fn may_send(&self) -> Result<(), Misuse> {
        let Limits { outstanding, .. } = self.decoder.rules().limits;
        if self.state != State::Ready {
            Err(Misuse::NotReady)
        } else if self.waiting.len() >= outstanding as usize {
            Err(Misuse::Outstanding)
        } else {
            Ok(())
        }
    }

    #[inline]
    fn send<B: Buffer + ?Sized>(
        &mut self,
        ticket: T,
        out: &mut B,
        write: impl FnOnce(&mut B) -> Result<Written, Misuse>,
    ) -> Result<(), Misuse> {
        self.may_send()?;
        let position = out.position();
        let written = write(out)?;
        let (channels, unsubscribes) = match written.class {
            Class::One | Class::Client => {
                self.waiting.push_back(Waiting::One(ticket));
                return Ok(());
            }
            Class::Multi | Class::Exec => {
                self.queueing = written.class == Class::Multi;
                self.waiting.push_back(Waiting::One(ticket));
                return Ok(());
            }
            Class::Subscribe(channels) if !self.queueing => (channels, false),
            Class::Unsubscribe(channels) if !self.queueing => (channels, true),
            Class::Unanswerable | Class::Subscribe(_) | Class::Unsubscribe(_) => {
                out.rewind(position);
                return Err(Misuse::Unanswerable);
            }
        };
        let marker = if unsubscribes {
            Some(self.mark(out).inspect_err(|_| out.rewind(position))?)
        } else {
            None
        };
        self.waiting.push_back(Waiting::Subscription(Box::new(Subscription {
            ticket,
            channels,
            marker,
            left: written.arguments,
            confirmations: Vec::new(),
            error: None,
        })));
        Ok(())
    }

    /// Sends a marker, which is a PING with a unique text.
    fn mark<B: Buffer + ?Sized>(&mut self, out: &mut B) -> Result<u32, Misuse> {
        let marker = self.markers.wrapping_add(1);
        let mut number = Header::new();
        let word = [MARKER, number.unsigned(u64::from(marker))].concat();
        arguments::write(out, &("PING", word), None)?;
        self.markers = marker;
        Ok(marker)
    }

    /// Waits for the remaining replies of the handshake, if any.
    fn await_handshake(&mut self, left: u8, greeting: Value) -> Option<Value> {
        self.hello = None;
        if left == 0 {
            self.state = State::Ready;
            return Some(greeting);
        }
        self.state = State::Handshake;
        self.waiting.push_front(Waiting::Handshake(left, Box::new(greeting)));
        None
    }

    fn is_push_expected(&self, values: &[Value]) -> bool {
        let subscribes = || matches!(self.waiting.front(), Some(Waiting::Subscription(_)));
        (self.subscriptions() > 0 || subscribes()) && is_push_in_resp2(values)
    }

    /// Push data has arrived: an expected confirmation, or an event for the caller.
    fn pushed(&mut self, values: Vec<Value>, attributes: Vec<(Value, Value)>) -> Option<ClientEvent<T>> {
        let Some(confirmation) = Confirmation::read(&values) else {
            return Some(ClientEvent::Push(Push::new(values, attributes)));
        };
        let before = self.count(confirmation);
        match self.waiting.front_mut() {
            Some(Waiting::Subscription(subscription))
                if subscription.channels == confirmation.channels
                    && subscription.marker.is_some() == confirmation.unsubscribed
                    && !subscription.is_confirmed() =>
            {
                if subscription.left == 0 {
                    subscription.left = before.max(1);
                }
                subscription.left -= 1;
                let last = subscription.left == 0 && subscription.marker.is_none();
                subscription.confirmations.push(match self.decoder.core.version {
                    Version::Resp2 => Value::Array(values),
                    Version::Resp3 => Value::Push(values),
                });
                if last { self.confirmed() } else { None }
            }
            _ => Some(ClientEvent::Push(Push::new(values, attributes))),
        }
    }

    /// The first waiting subscription has all its confirmations.
    fn confirmed(&mut self) -> Option<ClientEvent<T>> {
        match self.waiting.pop_front()? {
            Waiting::Subscription(subscription) => Some(ClientEvent::Reply(
                subscription.ticket,
                Value::Array(subscription.confirmations),
            )),
            _ => None,
        }
    }

    /// Updates the counts of subscriptions. Returns the previous count of the confirmation's kind.
    fn count(&mut self, confirmation: Confirmation) -> u32 {
        let [together, sharded] = &mut self.totals;
        let [channels, patterns] = &mut self.counts;
        let count = match confirmation.channels {
            Channels::Sharded => return core::mem::replace(sharded, confirmation.total),
            Channels::Plain => channels,
            Channels::Patterns => patterns,
        };
        let before = *count;
        // Repeated subscriptions and unsubscriptions leave the server's count unchanged.
        if confirmation.total > *together {
            *count += 1;
        } else if confirmation.total < *together {
            *count = count.saturating_sub(1);
        }
        *together = confirmation.total;
        before
    }

    /// A reply has arrived.
    #[inline]
    fn replied<B: Buffer + ?Sized>(&mut self, value: Value, out: &mut B) -> Result<Option<ClientEvent<T>>, Violation> {
        match self.waiting.pop_front() {
            Some(Waiting::One(ticket)) => Ok(Some(ClientEvent::Reply(ticket, value))),
            // A server that closes sends the reason unasked, for instance that there are too many clients.
            None if value.as_error().is_some() => Ok(Some(self.refused(value))),
            None => Err(Violation::Unsolicited),
            Some(Waiting::Subscription(subscription)) if subscription.marker.is_some() => {
                self.replied_before_marker(subscription, value)
            }
            Some(waiting) => Ok(self.replied_otherwise(waiting, value, out)),
        }
    }

    /// A reply has arrived to an unsubscription or to the marker behind it.
    #[inline(never)]
    fn replied_before_marker(
        &mut self,
        mut subscription: Box<Subscription<T>>,
        value: Value,
    ) -> Result<Option<ClientEvent<T>>, Violation> {
        let failed = value.as_error().is_some();
        // Either of the two commands may have failed. An unsubscription that was completely confirmed has not failed, so a later error is
        // the marker's reply, unless the confirmations may have come unasked.
        let marked = match &subscription.error {
            _ if subscription.is_marked_by(&value) => {
                subscription.error.is_some() || !subscription.confirmations.is_empty()
            }
            Some(_) => failed && subscription.confirmations.is_empty(),
            None => failed && subscription.is_confirmed() && subscription.channels != Channels::Sharded,
        };
        if marked {
            let confirmations = Value::Array(subscription.confirmations);
            let reply = subscription.error.unwrap_or(confirmations);
            return Ok(Some(ClientEvent::Reply(subscription.ticket, reply)));
        }
        let first = failed && subscription.error.is_none();
        if first {
            subscription.error = Some(value);
        }
        self.waiting.push_front(Waiting::Subscription(subscription));
        if first { Ok(None) } else { Err(Violation::Misordered) }
    }

    #[inline(never)]
    fn replied_otherwise<B: Buffer + ?Sized>(
        &mut self,
        waiting: Waiting<T>,
        value: Value,
        out: &mut B,
    ) -> Option<ClientEvent<T>> {
        match waiting {
            Waiting::One(ticket) => Some(ClientEvent::Reply(ticket, value)),
            // An error, or the reply that the command was queued in a transaction.
            Waiting::Subscription(subscription) => Some(ClientEvent::Reply(subscription.ticket, value)),
            Waiting::Transaction(mut transaction) if transaction.left > 0 => {
                transaction.left -= 1;
                if value.as_error().is_some() && transaction.error.is_none() {
                    transaction.error = Some(value);
                }
                self.waiting.push_front(Waiting::Transaction(transaction));
                None
            }
            Waiting::Transaction(transaction) => {
                let first = transaction.error.filter(|_| value.as_error().is_some());
                Some(ClientEvent::Reply(transaction.ticket, first.unwrap_or(value)))
            }
            Waiting::Ping => None,
            Waiting::Hello => self.greeted(value, out),
            Waiting::Handshake(..) if value.as_error().is_some() => Some(self.refused(value)),
            Waiting::Handshake(left, greeting) => {
                let greeting = self.await_handshake(left.saturating_sub(1), *greeting)?;
                Some(ClientEvent::Ready(greeting))
            }
        }
    }

    /// The reply to HELLO has arrived.
    fn greeted<B: Buffer + ?Sized>(&mut self, value: Value, out: &mut B) -> Option<ClientEvent<T>> {
        let hello = self.hello.take()?;
        let Some(error) = value.as_error() else {
            let Ok(left) = hello.write_select(out) else {
                return Some(self.refused(value));
            };
            return self.await_handshake(left, value).map(ClientEvent::Ready);
        };
        // The server does not know HELLO or RESP3, or accepts no password in HELLO. Any other error is a refusal.
        let apart = match error.code() {
            b"NOPROTO" => true,
            b"NOAUTH" => hello.password.is_some(),
            b"ERR" => contains(error.text(), b"unknown command"),
            _ => false,
        };
        if !apart {
            return Some(self.refused(value));
        }
        self.decoder.set_version(Version::Resp2);
        match hello.write_apart(out) {
            Ok(left) => self.await_handshake(left, Value::Null).map(ClientEvent::Ready),
            Err(_) => Some(self.refused(value)),
        }
    }

    fn refused(&mut self, value: Value) -> ClientEvent<T> {
        self.state = State::Refused;
        self.hello = None;
        self.waiting.clear();
        ClientEvent::Refused(value)
    }
}

/// Whether `text` contains `words`, which are in lower case, ignoring ASCII case.
fn contains(text: &[u8], words: &[u8]) -> bool {
    text.windows(words.len()).any(|some| some.eq_ignore_ascii_case(words))
}

/// A command that is encoded once and sent on any number of connections, possibly by other threads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreparedCommand {
    bytes: Bytes,
    written: Written,
}

impl PreparedCommand {
    /// Encodes a command.
    ///
    /// # Errors
    ///
    /// The errors of [`write_command`](crate::write_command).
    pub fn new(arguments: &(impl Arguments + ?Sized)) -> Result<Self, Misuse> {
        let mut out = Vec::new();
        let written = arguments::write(&mut out, arguments, None)?;
        Ok(PreparedCommand {
            bytes: out.into(),
            written,
        })
    }

    /// The encoded command.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    /// In RESP2 the marker's reply is an array of two; other arrays of two that contain its text are not its reply.
    #[test]
    fn a_marker_is_known_by_its_kind_and_word() {
        let subscription = Subscription {
            ticket: (),
            channels: Channels::Plain,
            marker: Some(7),
            left: 0,
            confirmations: Vec::new(),
            error: None,
        };
        let bulk = |text: &'static str| Value::Bulk(text.into());
        for (value, is) in [
            (bulk("proto-resp marker 7"), true),
            (bulk("proto-resp marker 8"), false),
            (bulk("7"), false),
            (Value::Array(vec![bulk("pong"), bulk("proto-resp marker 7")]), true),
            (Value::Array(vec![bulk("data"), bulk("proto-resp marker 7")]), false),
            (Value::Array(vec![bulk("proto-resp marker 7")]), false),
        ] {
            assert_eq!(subscription.is_marked_by(&value), is, "{value:?}");
        }
    }
}
