//! How a worker process speaks to the hub.

use std::sync::Arc;
use std::time::Duration;

use proto_resp::Value;
use protocol::bytes::Bytes;

use crate::broker::dialect::{Dialect, Life, News, Refusal, Role, Side, Verdict, Words};
use crate::broker::reading::{Entry, Page, Range};
use crate::broker::{Member, Presence, Trouble};
use crate::channel::Name;
use crate::log::Keep;
use crate::publication::{Draft, Position, Publication};

/// Speaks to the hub.
pub(crate) struct HubDialect;

impl Dialect for HubDialect {
    fn has_news_apart(&self) -> bool {
        false
    }

    fn greeted(&self, _: &Value) -> Result<(), Refusal> {
        Ok(())
    }

    fn begin(&self, _: Role) -> Vec<Words> {
        Vec::new()
    }

    fn begun(&self, _: Role, _: &[Value]) -> Result<Life, Refusal> {
        Ok(Life::default())
    }

    fn follow(&self, channels: &[(Name, Keep)]) -> Words {
        let channels = channels.iter().flat_map(|(channel, keep)| {
            let [a, b, c] = words(*keep);
            [word(channel.as_str()), a, b, c]
        });
        core::iter::once("FOLLOW".into()).chain(channels).collect()
    }

    fn forget(&self, channels: &[Name]) -> Words {
        let channels = channels.iter().map(|channel| word(channel.as_str()));
        core::iter::once("FORGET".into()).chain(channels).collect()
    }

    fn publish(&self, _: &Life, draft: Draft, keep: Keep) -> Words {
        let Draft {
            channel,
            user,
            data,
            key,
        } = draft;
        let [user, key] = [user, key].map(|text| word(text.as_deref().unwrap_or_default()));
        let command = ["PUBLISH".into(), word(channel.as_str()), user, data, key];
        command.into_iter().chain(words(keep)).collect()
    }

    fn published(&self, reply: &Value) -> Option<Position> {
        position(reply)
    }

    fn read(&self, channel: &Name, range: &Range) -> Words {
        let before = range.before.map(|position| position.offset.to_string());
        vec![
            "READ".into(),
            word(channel.as_str()),
            before.unwrap_or_default().into(),
            range.publications.to_string().into(),
            range.bytes.to_string().into(),
        ]
    }

    fn page(&self, channel: &Name, reply: &Value) -> Option<Page> {
        let [position, more, entries] = reply.as_slice()? else {
            return None;
        };
        let position = self::position(position)?;
        let entries = entries.as_slice()?.iter().map(|entry| {
            let [offset, age, user, data] = entry.as_slice()? else {
                return None;
            };
            let offset = offset.as_str()?.parse().ok()?;
            let age = Duration::from_millis(age.as_str()?.parse().ok()?);
            let publication = publication(channel, Position { offset, ..position }, user, data)?;
            Some(Entry::Publication(Arc::new(publication.aged(age))))
        });
        Some(Page {
            empty: Some(position),
            entries: entries.collect::<Option<_>>()?,
            more: more.as_str() == Some("1"),
        })
    }

    fn read_part(&self, channel: &Name, side: Side, publications: usize, bytes: usize) -> Words {
        let (side, offset) = side.words();
        let channel = word(channel.as_str());
        let limits = [publications, bytes].map(|limit| limit.to_string().into());
        ["PART".into(), channel, side, offset]
            .into_iter()
            .chain(limits)
            .collect()
    }

    fn part(&self, channel: &Name, reply: &Value) -> Option<(Position, Page)> {
        let page = self.page(channel, reply)?;
        Some((page.empty?, page))
    }

    /// The hub lives as long as its processes, so no history is lost.
    fn mark_broken(&self, _: &Name, _: Option<Position>, _: Keep) -> Option<Words> {
        None
    }

    fn enter(&self, channel: &Name, members: &[&Member], _: bool) -> Words {
        let members = members
            .iter()
            .flat_map(|member| [word(&member.client), word(&member.text())]);
        let head = ["ENTER".into(), word(channel.as_str())];
        head.into_iter().chain(members).collect()
    }

    fn leave(&self, channel: &Name, client: &str) -> Words {
        vec!["LEAVE".into(), word(channel.as_str()), word(client)]
    }

    fn presence(&self, channel: &Name, limit: usize) -> Words {
        vec!["PRESENCE".into(), word(channel.as_str()), limit.to_string().into()]
    }

    fn present(&self, reply: &Value, _: usize) -> Option<Presence> {
        let [total, clients] = reply.as_slice()? else {
            return None;
        };
        let clients = clients.as_slice()?.iter().map(|value| {
            let [client, text] = value.as_slice()? else { return None };
            Some(Member::read(client.as_str()?.into(), text.as_str()?))
        });
        Some(Presence {
            total: usize::try_from(total.as_integer()?).ok()?,
            clients: clients.collect::<Option<_>>()?,
        })
    }

    /// Nothing expires while the connection exists.
    fn refresh(&self, _: &Name, _: Keep) -> Option<Words> {
        None
    }

    fn refresh_presence(&self, _: &Name) -> Option<Words> {
        None
    }

    fn refresh_times(&self) -> [Duration; 2] {
        [Duration::from_secs(3600); 2]
    }

    fn news(&self, kind: &[u8], data: &[Value]) -> News {
        let name = |value: &Value| value.as_str()?.parse().ok();
        let heard = match (kind, data) {
            (b"look", [channel]) => name(channel).map(News::Look),
            (b"publication", [channel, place, user, data]) => name(channel)
                .and_then(|channel| publication(&channel, position(place)?, user, data))
                .map(|publication| News::Publication(Arc::new(publication))),
            _ => Some(News::Nothing),
        };
        heard.unwrap_or(News::Unreadable)
    }

    fn judge(&self, error: &[u8]) -> Verdict {
        Verdict {
            trouble: match error {
                error if error.starts_with(b"TOOMANY") => Trouble::TooManyChannels,
                error if error.starts_with(b"UNAVAILABLE") => Trouble::Unavailable,
                _ => Trouble::Unknown,
            },
            begin_again: false,
        }
    }
}

fn word(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn words(keep: Keep) -> [Bytes; 3] {
    let millis = keep.time.as_millis().min(u128::from(u64::MAX));
    let numbers = [keep.publications as u128, keep.bytes as u128, millis];
    numbers.map(|number| number.to_string().into())
}

fn position(value: &Value) -> Option<Position> {
    value.as_str()?.parse().ok()
}

fn publication(channel: &Name, position: Position, user: &Value, data: &Value) -> Option<Publication> {
    let Value::Bulk(data) = data else { return None };
    let draft = Draft {
        channel: channel.clone(),
        user: Some(user.as_str()?).filter(|user| !user.is_empty()).map(Into::into),
        // Copied, because a slice would keep the memory of the whole reply.
        data: Bytes::copy_from_slice(data),
        key: None,
    };
    Some(Publication::new(draft, position))
}
