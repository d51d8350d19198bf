//! How a process speaks to the hub.

use std::sync::{Arc, Weak};

use proto_resp::Value;
use protocol::bytes::Bytes;

use crate::broker::order::{Command, Dialect, Order, Ticket, Wanted};
use crate::broker::{Inbox, Member, Presence, Snapshot, Trouble};
use crate::channel::Name;
use crate::log::Keep;
use crate::publication::{Draft, Position, Publication};

/// Speaks to the hub.
pub(crate) struct HubDialect {
    inbox: Weak<dyn Inbox>,
}

impl HubDialect {
    pub(crate) fn new(inbox: Weak<dyn Inbox>) -> Self {
        HubDialect { inbox }
    }
}

impl Dialect for HubDialect {
    fn ready(&mut self, wanted: &Wanted) -> Vec<Command> {
        let channels = wanted.channels.iter().map(|(channel, keep)| follow(channel, *keep));
        let members = wanted
            .members
            .iter()
            .map(|((channel, _), member)| enter(channel, member));
        channels.chain(members).collect()
    }

    fn order(&mut self, order: Order) -> Vec<Command> {
        vec![match order {
            Order::Follow(channel, keep) => follow(&channel, keep),
            Order::Forget(channel) => (vec!["FORGET".into(), word(channel.as_str())], Ticket::Nothing),
            Order::Publish(draft, keep, done) => {
                let Draft { channel, user, data } = draft;
                let user = word(user.as_deref().unwrap_or_default());
                let command = ["PUBLISH".into(), word(channel.as_str()), user, data];
                (
                    command.into_iter().chain(words(keep)).collect(),
                    Ticket::Published(done),
                )
            }
            Order::Snapshot(channel, keep, done) => {
                let command = ["SNAPSHOT".into(), word(channel.as_str())]
                    .into_iter()
                    .chain(words(keep));
                (command.collect(), Ticket::Snapshot(channel, keep.publications, done))
            }
            Order::Enter(channel, member) => enter(&channel, &member),
            Order::Leave(channel, client) => {
                let command = vec!["LEAVE".into(), word(channel.as_str()), word(&client)];
                (command, Ticket::Nothing)
            }
            Order::Presence(channel, limit, done) => {
                let command = vec!["PRESENCE".into(), word(channel.as_str()), limit.to_string().into()];
                (command, Ticket::Presence(limit, done))
            }
            // Nothing is forgotten as long as the connection stands.
            Order::Refresh(_) => return Vec::new(),
        }]
    }

    fn reply(&mut self, ticket: Ticket, reply: &Value) -> Result<(), String> {
        if let Some(error) = reply.as_error() {
            let trouble = match error.code() {
                b"TOOMANY" => Trouble::TooManyChannels,
                _ => return Err(String::from_utf8_lossy(error.text()).into_owned()),
            };
            match ticket {
                Ticket::Published(done) => done.tell(Err(trouble)),
                Ticket::Snapshot(_, _, done) => done.tell(Err(trouble)),
                Ticket::Presence(_, done) => done.tell(Err(trouble)),
                Ticket::Nothing | Ticket::Follow(..) => {}
            }
            return Ok(());
        }
        let unreadable = || "the hub said something unreadable".to_owned();
        match ticket {
            // A snapshot comes as a push.
            Ticket::Nothing | Ticket::Follow(..) => {}
            Ticket::Published(done) => done.tell(Ok(position(reply).ok_or_else(unreadable)?)),
            Ticket::Snapshot(channel, _, done) => done.tell(Ok(snapshot(&channel, reply).ok_or_else(unreadable)?)),
            Ticket::Presence(_, done) => done.tell(Ok(presence(reply).ok_or_else(unreadable)?)),
        }
        Ok(())
    }

    fn push(&mut self, kind: &[u8], data: &[Value]) -> Result<(), String> {
        let Some(inbox) = self.inbox.upgrade() else {
            return Ok(());
        };
        let told = match (kind, data) {
            (b"snapshot", [channel, rest]) => name(channel).and_then(|channel| {
                let snapshot = snapshot(&channel, rest)?;
                inbox.snapshot(&channel, snapshot);
                Some(())
            }),
            (b"publication", [channel, place, user, data]) => name(channel).and_then(|channel| {
                let publication = publication(&channel, position(place)?, user, data)?;
                inbox.publication(&Arc::new(publication));
                Some(())
            }),
            _ => None,
        };
        told.ok_or_else(|| "the hub said something unreadable".to_owned())
    }
}

fn follow(channel: &Name, keep: Keep) -> Command {
    let command = ["FOLLOW".into(), word(channel.as_str())].into_iter().chain(words(keep));
    (command.collect(), Ticket::Follow(channel.clone(), keep.publications))
}

fn enter(channel: &Name, member: &Member) -> Command {
    let user = word(member.user.as_deref().unwrap_or_default());
    let command = vec!["ENTER".into(), word(channel.as_str()), word(&member.client), user];
    (command, Ticket::Nothing)
}

fn word(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn words(keep: Keep) -> [Bytes; 3] {
    let numbers = [keep.publications as u128, keep.bytes as u128, keep.time.as_millis()];
    numbers.map(|number| number.to_string().into())
}

fn name(value: &Value) -> Option<Name> {
    value.as_str()?.parse().ok()
}

fn position(value: &Value) -> Option<Position> {
    value.as_str()?.parse().ok()
}

fn publication(channel: &Name, position: Position, user: &Value, data: &Value) -> Option<Publication> {
    let Value::Bulk(data) = data else { return None };
    let draft = Draft {
        channel: channel.clone(),
        user: Some(user.as_str()?).filter(|user| !user.is_empty()).map(Into::into),
        data: data.clone(),
    };
    Some(Publication::new(draft, position))
}

fn snapshot(channel: &Name, value: &Value) -> Option<Snapshot> {
    let [position, publications] = value.as_slice()? else {
        return None;
    };
    let (position, publications) = (self::position(position)?, publications.as_slice()?);
    let first = (position.offset + 1).checked_sub(publications.len() as u64)?;
    let publications = publications.iter().zip(first..).map(|(value, offset)| {
        let [user, data] = value.as_slice()? else { return None };
        publication(channel, Position { offset, ..position }, user, data).map(Arc::new)
    });
    Some(Snapshot {
        position,
        publications: publications.collect::<Option<_>>()?,
    })
}

fn presence(value: &Value) -> Option<Presence> {
    let [total, clients] = value.as_slice()? else {
        return None;
    };
    let clients = clients.as_slice()?.iter().map(|value| {
        let [client, user] = value.as_slice()? else { return None };
        Some(Member {
            client: client.as_str()?.into(),
            user: Some(user.as_str()?).filter(|user| !user.is_empty()).map(Into::into),
        })
    });
    Some(Presence {
        total: usize::try_from(total.as_integer()?).ok()?,
        clients: clients.collect::<Option<_>>()?,
    })
}
