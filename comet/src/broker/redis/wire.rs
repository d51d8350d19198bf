//! The formats of stream entries and messages.

use std::sync::Arc;
use std::time::Duration;

use proto_resp::Value;
use protocol::bytes::Bytes;

use crate::broker::reading::Entry;
use crate::channel::Name;
use crate::publication::{Draft, Epoch, Position, Publication};

pub(super) fn id(position: Position) -> Bytes {
    format!("{}-{}", position.epoch.0, position.offset).into()
}

/// Parses EPOCH-OFFSET.
pub(super) fn position(id: &[u8]) -> Option<Position> {
    let (epoch, offset) = str::from_utf8(id).ok()?.split_once('-')?;
    Some(Position {
        epoch: Epoch(epoch.parse().ok()?),
        offset: offset.parse().ok()?,
    })
}

/// Parses a message: the id, with the previous epoch if that differs (`ID<EPOCH`), the length of the user's name, the name, and the data.
pub(super) fn message(channel: &Name, payload: &Bytes) -> Option<Publication> {
    let mut parts = payload.splitn(3, |byte| *byte == b' ');
    let place = parts.next()?;
    let (id, before) = match place.iter().position(|byte| *byte == b'<') {
        Some(at) => (&place[..at], Some(epoch(&place[at + 1..])?)),
        None => (place, None),
    };
    let position = position(id)?;
    let length: usize = str::from_utf8(parts.next()?).ok()?.parse().ok()?;
    let rest = payload.slice_ref(parts.next()?);
    let publication = publication(channel, position, rest.get(..length)?, rest.slice(length..))?;
    Some(publication.behind(before.unwrap_or(position.epoch)))
}

fn epoch(text: &[u8]) -> Option<Epoch> {
    str::from_utf8(text).ok()?.parse().ok().map(Epoch)
}

fn publication(channel: &Name, position: Position, user: &[u8], data: Bytes) -> Option<Publication> {
    let draft = Draft {
        channel: channel.clone(),
        user: (!user.is_empty()).then_some(str::from_utf8(user).ok()?.into()),
        data,
        key: None,
    };
    Some(Publication::new(draft, position))
}

/// Parses a stream entry that was read at `now`.
pub(super) fn entry(channel: &Name, now: u64, value: &Value) -> Option<Entry> {
    let [id, fields] = value.as_slice()? else { return None };
    let position = position(id.as_bytes()?)?;
    let fields = fields.as_slice()?;
    let field = |name: &[u8]| {
        let mut pairs = fields.as_chunks::<2>().0.iter();
        let found = pairs.find(|[known, _]| known.as_bytes() == Some(name));
        found.and_then(|[_, value]| value.as_bytes())
    };
    if field(b"m").is_some() {
        return Some(Entry::Mark(position));
    }
    let data = Bytes::copy_from_slice(field(b"d")?);
    let at: u64 = str::from_utf8(field(b"t")?).ok()?.parse().ok()?;
    let before = match field(b"p") {
        Some(before) => epoch(before)?,
        None => position.epoch,
    };
    let publication = publication(channel, position, field(b"u")?, data)?.behind(before);
    let age = Duration::from_millis(now.saturating_sub(at));
    Some(Entry::Publication(Arc::new(publication.aged(age))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_carry_their_position() {
        let read = |text: &str| message(&"news".parse().unwrap(), &Bytes::copy_from_slice(text.as_bytes()));
        let publication = read("7-12 3 ann{\"a\": 1}").unwrap();
        assert_eq!((publication.offset(), &publication.data[..]), (12, &b"{\"a\": 1}"[..]));
        assert_eq!(
            (publication.user.as_deref(), publication.previous),
            (Some("ann"), Epoch(7))
        );
        assert_eq!(read("7-12<5 0 1").unwrap().previous, Epoch(5));
        assert_eq!(read("7-12 0 1").unwrap().user, None);
        for bad in ["", "7-12", "7-12 9 ann", "x 0 1", "7-12 x 1", "7-12<x 0 1"] {
            assert!(read(bad).is_none(), "{bad}");
        }
    }
}
