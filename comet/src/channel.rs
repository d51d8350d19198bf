//! Names of channels, and patterns of names.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The longest name, in bytes.
const LONGEST: usize = 255;

/// The beginning of the names of channels of join and leave events; the rest is the channel where clients come and go.
const JOINS: &str = "$join:";

/// A channel's name: 1 to 255 visible ASCII characters other than `*`. Names that begin with `$` are reserved for comet.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Name(Arc<str>);

/// The text is not a valid channel name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BadName;

impl Name {
    /// The channel on which every node reports its counters.
    pub(crate) fn nodes() -> Self {
        Name("$nodes".into())
    }

    /// The channel of orders to the clients of all nodes.
    pub(crate) fn orders() -> Self {
        Name("$orders".into())
    }

    /// The channel of revoked tokens.
    pub(crate) fn revoked() -> Self {
        Name("$revoked".into())
    }

    /// The channel of events about clients that come to this channel and leave it.
    pub(crate) fn joins(&self) -> Self {
        Name(format!("{JOINS}{self}").into())
    }

    /// The channel that the events of this channel are about, if this is a channel of such events.
    pub(crate) fn joined(&self) -> Option<&str> {
        self.0.strip_prefix(JOINS)
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// A hash of the name. Different names mostly have different tags.
    pub(crate) fn tag(&self) -> u16 {
        // FNV-1a, folded. Names chosen to have the same tag only cost comparisons of names.
        let mix = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
        let hash = self.0.bytes().fold(0x811c_9dc5, mix);
        (hash >> 16) as u16 ^ hash as u16
    }

    /// Whether the name is reserved, so that only comet may publish there.
    pub(crate) fn is_reserved(&self) -> bool {
        self.0.starts_with('$')
    }
}

impl FromStr for Name {
    type Err = BadName;

    fn from_str(name: &str) -> Result<Self, BadName> {
        let good = |byte: u8| byte.is_ascii_graphic() && byte != b'*';
        // comet's own names may contain a whole name.
        let longest = if name.starts_with(JOINS) {
            JOINS.len() + LONGEST
        } else {
            LONGEST
        };
        if name.is_empty() || name.len() > longest || !name.bytes().all(good) {
            return Err(BadName);
        }
        Ok(Name(name.into()))
    }
}

impl TryFrom<String> for Name {
    type Error = BadName;

    fn try_from(name: String) -> Result<Self, BadName> {
        name.parse()
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for BadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a channel's name is 1 to 255 visible ASCII characters without '*'")
    }
}

impl std::error::Error for BadName {}

/// One name, or all names with a prefix: `news`, `room:*`, `*`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Pattern(String);

impl Pattern {
    /// The pattern that matches every name that is not reserved.
    pub(crate) fn any() -> Self {
        Pattern("*".to_owned())
    }

    /// Whether this pattern fits every name that `other` fits.
    pub(crate) fn covers(&self, other: &Pattern) -> bool {
        let beginning = other.0.strip_suffix('*');
        match (self.0.strip_suffix('*'), beginning) {
            (Some(ours), Some(theirs)) => theirs.starts_with(ours) && ours.starts_with('$') == theirs.starts_with('$'),
            (Some(_), None) => self.fits(&Name(other.0.as_str().into())),
            (None, _) => self.0 == other.0,
        }
    }

    pub(crate) fn fits(&self, name: &Name) -> bool {
        match self.0.strip_suffix('*') {
            // Reserved channels match only patterns that begin with `$`.
            Some(beginning) => name.as_str().starts_with(beginning) && name.is_reserved() == beginning.starts_with('$'),
            None => name.as_str() == self.0,
        }
    }
}

impl TryFrom<String> for Pattern {
    type Error = String;

    fn try_from(pattern: String) -> Result<Self, String> {
        let beginning = pattern.strip_suffix('*').unwrap_or(&pattern);
        if beginning.is_empty() && !pattern.is_empty() || beginning.parse::<Name>().is_ok() {
            return Ok(Pattern(pattern));
        }
        Err(format!(
            "{pattern:?} is neither a channel's name nor the beginning of one with '*' behind it"
        ))
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> String {
        pattern.0
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> Name {
        name.parse().unwrap()
    }

    #[test]
    fn names_are_visible_and_bounded() {
        for good in ["a", "room:1", "$nodes", "a/b?c#d", &"x".repeat(255)] {
            assert_eq!(name(good).as_str(), good);
        }
        for bad in ["", "a b", "a*", "ü", "a\n", &"x".repeat(256)] {
            assert_eq!(bad.parse::<Name>(), Err(BadName), "{bad:?}");
        }
    }

    #[test]
    fn patterns_cover_others() {
        let pattern = |text: &str| Pattern::try_from(text.to_owned()).unwrap();
        for (one, other, covers) in [
            ("*", "news", true),
            ("*", "room:*", true),
            ("*", "$nodes", false),
            ("*", "$*", false),
            ("room:*", "room:1", true),
            ("room:*", "room:a*", true),
            ("room:*", "roo*", false),
            ("news", "news", true),
            ("news", "news*", false),
            ("$*", "$nodes", true),
        ] {
            assert_eq!(pattern(one).covers(&pattern(other)), covers, "{one} {other}");
        }
    }

    #[test]
    fn channels_of_events_have_names() {
        let longest = name(&"x".repeat(255));
        assert_eq!(name(longest.joins().as_str()).joined(), Some(longest.as_str()));
        assert!(longest.joins().is_reserved() && longest.joined().is_none());
    }

    #[test]
    fn patterns_fit_beginnings() {
        let pattern = |text: &str| Pattern::try_from(text.to_owned()).unwrap();
        assert!(pattern("news").fits(&name("news")));
        assert!(!pattern("news").fits(&name("newsroom")));
        assert!(pattern("room:*").fits(&name("room:1")) && !pattern("room:*").fits(&name("rooms")));
        assert!(Pattern::any().fits(&name("anything")));
        assert!(!Pattern::any().fits(&Name::nodes()) && pattern("$*").fits(&Name::nodes()));
        for bad in ["", "a*b", "**", "a b*"] {
            assert!(Pattern::try_from(bad.to_owned()).is_err(), "{bad:?}");
        }
    }
}
