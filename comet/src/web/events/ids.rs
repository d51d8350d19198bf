//! The ids of events, by which a reader that comes back resumes.
//!
//! In a stream of one channel, an id is a position, `EPOCH:OFFSET`. In a stream of several channels, each id has the positions of all of
//! them, because a browser repeats only the last: `KEY:EPOCH:OFFSET,KEY:EPOCH:OFFSET`. A key stands for a channel's name, so that the
//! length of an id is bounded and the reader may ask for other channels when it comes back.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use sha2::{Digest, Sha256};

use crate::channel::Name;
use crate::publication::{Epoch, Position};

/// An invalid position, which counts as one of an earlier life.
pub(super) const NOWHERE: Position = Position {
    epoch: Epoch::NONE,
    offset: u64::MAX,
};

/// Stands for a channel's name: 8 characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key([u8; 6]);

impl Key {
    pub(super) fn of(channel: &Name) -> Self {
        let [a, b, c, d, e, f, ..] = <[u8; 32]>::from(Sha256::digest(channel.as_str()));
        Key([a, b, c, d, e, f])
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&BASE64.encode(self.0))
    }
}

/// The id that a reader repeats.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Last {
    /// The reader has not been here.
    None,
    One(Position),
    Several(Vec<(Key, Position)>),
    /// No id of this server.
    Garbled,
}

impl Last {
    pub(super) fn read(id: Option<&str>) -> Self {
        let Some(id) = id else { return Last::None };
        if let Ok(position) = id.parse() {
            return Last::One(position);
        }
        let part = |part: &str| {
            let (key, position) = part.split_once(':')?;
            let key = BASE64.decode(key).ok()?.try_into().ok()?;
            Some((Key(key), position.parse().ok()?))
        };
        let parts: Option<Vec<_>> = id.split(',').map(part).collect();
        parts.map_or(Last::Garbled, Last::Several)
    }

    /// Where a reader of `channel` resumes, which `is_alone` in its stream. `None` if the channel is new to the reader.
    pub(super) fn of(&self, channel: &Name, is_alone: bool) -> Option<Position> {
        match self {
            Last::None => None,
            Last::One(position) if is_alone => Some(*position),
            // The id does not say which channel it is of.
            Last::One(_) | Last::Garbled => Some(NOWHERE),
            Last::Several(parts) => {
                let key = Key::of(channel);
                let known = parts.iter().find(|(known, _)| *known == key);
                known.map(|(_, position)| *position)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_read_back() {
        let position = |offset| Position {
            epoch: Epoch(0x1f6a),
            offset,
        };
        let [news, other]: [Name; 2] = ["news", "other"].map(|name| name.parse().unwrap());
        let (one, two) = (Key::of(&news), Key::of(&other));
        let id = format!("{one}:{},{two}:{}", position(3), position(7));
        let last = Last::read(Some(&id));
        assert_eq!(last.of(&news, false), Some(position(3)));
        assert_eq!(last.of(&other, true), Some(position(7)));
        assert_eq!(last.of(&"third".parse().unwrap(), false), None);
        let one = Last::read(Some("1f6a:3"));
        assert_eq!(one.of(&news, true), Some(position(3)));
        assert_eq!(one.of(&news, false), Some(NOWHERE));
        assert_eq!(Last::read(None).of(&news, true), None);
        for garbled in ["nonsense", "a:1:2", "1:2,", "AAAAAAAA:x:y", "AAAAAAAA:1:2,b"] {
            assert_eq!(Last::read(Some(garbled)), Last::Garbled, "{garbled}");
        }
        // What stands for a position that was no position reads back as well.
        let id = format!("{two}:{NOWHERE}");
        assert_eq!(Last::read(Some(&id)).of(&other, false), Some(NOWHERE));
    }
}
