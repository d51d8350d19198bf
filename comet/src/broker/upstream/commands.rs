//! Which commands are sent to a broker, in which order and how many at once, and what happens with the replies.

use std::sync::Arc;

use proto_resp::Value;

use super::Upstream;
use super::state::{Request, State};
use crate::broker::dialect::{News, Role, Side, Ticket, Words};
use crate::broker::reading::{Break, Entry, Range, Read, Reading, finish};
use crate::broker::{ANSWER, Member, Part, Snapshot};
use crate::channel::Name;
use crate::clock;
use crate::log::Keep;

/// The most clients in one command about presence.
const CLIENTS: usize = 256;

impl Upstream {
    /// The next command for the connection of `role`, which has `outstanding` commands without a reply.
    pub(crate) fn next_command(&self, role: Role, outstanding: usize) -> Option<(Words, Ticket)> {
        if outstanding >= self.bounds.window {
            return None;
        }
        let mut state = self.lock();
        if !state.leg(role).is_up {
            return None;
        }
        let apart = self.dialect.has_news_apart();
        if (role == Role::News || !apart)
            && let Some(command) = self.subscription(&mut state)
        {
            return Some(command);
        }
        if role == Role::News {
            return None;
        }
        self.marked(&mut state)
            .or_else(|| self.change_of_presence(&mut state))
            .or_else(|| self.request_waiting(&mut state))
            .or_else(|| self.page(&mut state))
            .or_else(|| self.asked(&mut state))
            .or_else(|| self.refreshed(&mut state))
    }

    /// A command that subscribes to channels, or unsubscribes.
    fn subscription(&self, state: &mut State) -> Option<(Words, Ticket)> {
        let (mut follow, mut forget) = (Vec::new(), Vec::new());
        while let Some(channel) = state.to_subscribe.front() {
            let wanted = state.channels.get(channel).map(|followed| followed.keep);
            let is_subscribed = state.subscribed.contains(channel);
            match wanted {
                Some(_) if !is_subscribed && !forget.is_empty() => break,
                None if is_subscribed && !follow.is_empty() => break,
                _ if follow.len() + forget.len() >= self.bounds.channels => break,
                _ => {}
            }
            let Some(channel) = state.to_subscribe.pop_front() else {
                break;
            };
            match wanted {
                Some(keep) if state.subscribed.insert(channel.clone()) => follow.push((channel, keep)),
                None if state.subscribed.remove(&channel) => forget.push(channel),
                _ => {}
            }
        }
        if !follow.is_empty() {
            return Some((self.dialect.follow(&follow), Ticket::Followed(follow)));
        }
        (!forget.is_empty()).then(|| (self.dialect.forget(&forget), Ticket::Nothing))
    }

    fn marked(&self, state: &mut State) -> Option<(Words, Ticket)> {
        while let Some((channel, last)) = state.to_mark.pop_front() {
            // A channel that is not followed has lost an acknowledged publication.
            let followed = state.channels.get(&channel).map(|followed| followed.keep);
            let acknowledged = || state.acknowledged.get(&channel).map(|known| known.keep);
            let Some(keep) = followed.or_else(acknowledged) else {
                continue;
            };
            if let Some(words) = self.dialect.mark_broken(&channel, last, keep) {
                return Some((words, Ticket::Broken(channel)));
            }
        }
        None
    }

    /// A command that reports clients that have come or gone.
    fn change_of_presence(&self, state: &mut State) -> Option<(Words, Ticket)> {
        let (channel, client) = state.changes.pop_front()?;
        let members = state.members.get(&channel);
        let is_anyone = members.is_some();
        let mut rest = Vec::new();
        let (words, enters) = match &client {
            Some(client) => match members.and_then(|members| members.get(client)) {
                // The first client replaces all others: the command that removed an earlier one may have been lost.
                Some(member) => {
                    let is_first = !state.entered.contains(&channel);
                    (self.dialect.enter(&channel, &[member], is_first), true)
                }
                None => (self.dialect.leave(&channel, client), false),
            },
            None => {
                let all: Vec<&Member> = members.into_iter().flat_map(|members| members.values()).collect();
                let (first, others) = all.split_at(all.len().min(CLIENTS));
                rest.extend(others.iter().map(|member| Arc::clone(&member.client)));
                (self.dialect.enter(&channel, first, true), true)
            }
        };
        for client in rest {
            state.changes.push_front((channel.clone(), Some(client)));
        }
        if !is_anyone {
            state.entered.remove(&channel);
        } else if enters {
            state.entered.insert(channel.clone());
        }
        Some((words, Ticket::Entered(channel)))
    }

    fn request_waiting(&self, state: &mut State) -> Option<(Words, Ticket)> {
        let request = state.pop()?;
        let life = state.life.as_ref()?;
        Some(match request {
            Request::Publish(draft, keep, mut done) => {
                done.sent();
                let channel = draft.channel.clone();
                let words = self.dialect.publish(life, draft, keep);
                (words, Ticket::Published(channel, keep, done))
            }
            Request::Presence(channel, limit, done) => {
                (self.dialect.presence(&channel, limit), Ticket::Presence(limit, done))
            }
        })
    }

    /// A command that reads a page of a followed channel.
    fn page(&self, state: &mut State) -> Option<(Words, Ticket)> {
        while let Some(channel) = state.to_go_on.pop_front() {
            if let Some(reading) = state.reading.get(&channel) {
                let words = self.dialect.read(&channel, &reading.range());
                return Some((words, Ticket::Page(channel)));
            }
        }
        if state.reading.len() >= self.bounds.pages {
            return None;
        }
        for _ in 0..state.to_read.len() {
            let channel = state.to_read.pop_front()?;
            if state.reading.contains_key(&channel) {
                // The channel is already being read: read it again afterwards.
                state.to_read.push_back(channel);
                continue;
            }
            let Some(followed) = state.channels.get_mut(&channel) else {
                continue;
            };
            followed.is_queued = false;
            let known = self.inbox.upgrade()?.position(&channel);
            let acknowledged = state.acknowledged.get(&channel).map(|known| known.positions());
            let acknowledged = acknowledged.unwrap_or_default();
            let reading = Reading::new(known, acknowledged, followed.keep, followed.round);
            return Some(self.begin_reading(state, channel, reading));
        }
        while let Some(channel) = state.to_verify.pop_front() {
            if let Some(known) = state.acknowledged.get(&channel)
                && !state.channels.contains_key(&channel)
                && !state.reading.contains_key(&channel)
            {
                let reading = Reading::check(known.positions(), known.keep);
                return Some(self.begin_reading(state, channel, reading));
            }
        }
        None
    }

    fn begin_reading(&self, state: &mut State, channel: Name, reading: Reading) -> (Words, Ticket) {
        let words = self.dialect.read(&channel, &reading.range());
        state.reading.insert(channel.clone(), reading);
        (words, Ticket::Page(channel))
    }

    /// A command for a client's request.
    fn asked(&self, state: &mut State) -> Option<(Words, Ticket)> {
        if state.asking >= self.bounds.answers {
            return None;
        }
        let (channel, part, keep, done) = state.asked.pop_front()?;
        state.asking += 1;
        let (publications, bytes) = (keep.publications.max(1), keep.bytes.min(ANSWER));
        let side = match part {
            Part::Before(offset) => Side::Before(offset),
            Part::After(offset) => Side::After(offset),
            Part::Newest => {
                let range = Range {
                    before: None,
                    down_to: None,
                    publications,
                    bytes,
                };
                let words = self.dialect.read(&channel, &range);
                return Some((words, Ticket::History(channel, keep, done)));
            }
        };
        let words = self.dialect.read_part(&channel, side, publications, bytes);
        Some((words, Ticket::Part(channel, keep, done)))
    }

    fn refreshed(&self, state: &mut State) -> Option<(Words, Ticket)> {
        while let Some(channel) = state.to_refresh_presence.pop_front() {
            if state.members.contains_key(&channel)
                && let Some(words) = self.dialect.refresh_presence(&channel)
            {
                return Some((words, Ticket::Refreshed(channel)));
            }
        }
        while let Some(channel) = state.to_refresh.pop_front() {
            if let Some(followed) = state.channels.get(&channel)
                && let Some(words) = self.dialect.refresh(&channel, followed.keep)
            {
                return Some((words, Ticket::Nothing));
            }
        }
        None
    }

    /// Handles a reply. Returns true if the connection must be replaced.
    pub(crate) fn replied(&self, ticket: Ticket, reply: &Value) -> bool {
        if let Some(error) = reply.as_error() {
            return self.failed(ticket, error.text());
        }
        let unreadable = match ticket {
            Ticket::Begin | Ticket::Nothing | Ticket::Entered(_) => None,
            Ticket::Published(channel, keep, done) => match self.dialect.published(reply) {
                Some(position) => {
                    self.change(Role::Requests, |state| state.acknowledge(&channel, keep, position));
                    done.tell(Ok(position));
                    None
                }
                None => Some("what it says of a publication".to_owned()),
            },
            Ticket::Presence(limit, done) => match self.dialect.present(reply, limit) {
                Some(presence) => {
                    done.tell(Ok(presence));
                    None
                }
                None => Some("what it says of who is there".to_owned()),
            },
            Ticket::Followed(channels) => {
                self.change(Role::Requests, |state| {
                    for (channel, _) in &channels {
                        state.queue_read(channel);
                    }
                });
                None
            }
            Ticket::Page(channel) => self.read_page(&channel, reply),
            Ticket::History(channel, keep, done) => {
                self.answered();
                let page = self.dialect.page(&channel, reply);
                match page.map(|page| finish(None, &[], page.empty, page.entries, page.more, 0)) {
                    Some(Read::Done(snapshot, _)) => {
                        done.tell(Ok(within(snapshot, keep)));
                        None
                    }
                    _ => Some(format!("what it keeps of {channel}")),
                }
            }
            Ticket::Part(channel, keep, done) => {
                self.answered();
                match self.dialect.part(&channel, reply) {
                    Some((position, page)) => {
                        let publications = page.entries.into_iter().filter_map(|entry| match entry {
                            Entry::Publication(publication) => Some(publication),
                            Entry::Mark(_) => None,
                        });
                        let snapshot = Snapshot {
                            position,
                            publications: publications.collect(),
                            turn: None,
                            continues: None,
                            more: page.more,
                            round: 0,
                        };
                        done.tell(Ok(within(snapshot, keep)));
                        None
                    }
                    None => Some(format!("what it keeps of {channel}")),
                }
            }
            Ticket::Refreshed(channel) => {
                // Presence that has expired is reported again.
                if reply.as_integer() == Some(0) {
                    self.change(Role::Requests, |state| state.changes.push_back((channel, None)));
                }
                None
            }
            Ticket::Broken(channel) => {
                // If the channel has changed meanwhile, its new end is marked.
                self.change(Role::Requests, |state| state.look_again(&channel));
                None
            }
        };
        if let Some(what) = unreadable {
            let mut state = self.lock();
            self.note(&mut state, format!("{what} is not comet's"));
        }
        false
    }

    /// A client's request was answered.
    fn answered(&self) {
        let mut state = self.lock();
        state.asking = state.asking.saturating_sub(1);
    }

    fn failed(&self, ticket: Ticket, text: &[u8]) -> bool {
        let (trouble, begin_again) = self.trouble(text);
        match ticket {
            Ticket::Published(_, _, done) => done.tell(Err(trouble)),
            Ticket::Presence(_, done) => done.tell(Err(trouble)),
            Ticket::History(_, _, done) | Ticket::Part(_, _, done) => {
                self.answered();
                done.tell(Err(trouble));
            }
            Ticket::Page(channel) => {
                // Requested again when it is found missing.
                self.lock().reading.remove(&channel);
            }
            // Without its subscriptions the connection is useless.
            Ticket::Followed(_) => return true,
            Ticket::Broken(channel) => self.lock().unmarked.push(channel),
            Ticket::Entered(channel) => {
                self.lock().untold.insert(channel);
            }
            Ticket::Begin | Ticket::Nothing | Ticket::Refreshed(_) => {}
        }
        begin_again
    }

    /// Handles a page of a followed channel. Returns what is wrong with it, if anything.
    fn read_page(&self, channel: &Name, reply: &Value) -> Option<String> {
        let page = self.dialect.page(channel, reply);
        let mut state = self.lock();
        let mut reading = state.reading.remove(channel)?;
        let read = page.map_or(Read::Unreadable, |page| reading.take(page));
        match read {
            Read::More => {
                // Before other channels, because the pages read so far are held in memory.
                state.reading.insert(channel.clone(), reading);
                state.to_go_on.push_back(channel.clone());
                self.wake(&mut state, Role::Requests);
                None
            }
            Read::Done(snapshot, lost) => {
                if let Some(Break(last)) = lost {
                    self.note(&mut state, format!("{channel} has lost publications"));
                    state.has_lost(&reading, channel, last);
                }
                self.wake(&mut state, Role::Requests);
                drop(state);
                // A check does not read as much history as a new reader needs.
                if !reading.is_check()
                    && let Some(inbox) = self.inbox.upgrade()
                {
                    inbox.snapshot(channel, snapshot);
                }
                None
            }
            Read::Unreadable => Some(format!("what it keeps of {channel}")),
        }
    }

    /// Handles a push.
    pub(crate) fn pushed(&self, kind: &[u8], data: &[Value]) {
        match self.dialect.news(kind, data) {
            News::Publication(publication) => {
                if let Some(inbox) = self.inbox.upgrade() {
                    inbox.publication(&publication);
                }
            }
            News::Look(channel) => self.change(Role::Requests, |state| state.queue_read(&channel)),
            News::Nothing => {}
            News::Unreadable => {
                let mut state = self.lock();
                self.note(&mut state, "a message that is not comet's".to_owned());
            }
        }
    }
}

/// Drops publications that are too old, and the oldest if there are more than asked for.
fn within(mut snapshot: Snapshot, keep: Keep) -> Snapshot {
    let now = clock::now();
    let count = snapshot.publications.len();
    let old = snapshot.publications.iter();
    let old = old.take_while(|publication| now.saturating_duration_since(publication.at) > keep.time);
    let first = old.count().max(count.saturating_sub(keep.publications));
    snapshot.more |= count.saturating_sub(keep.publications) > 0;
    snapshot.publications.drain(..first);
    snapshot
}
