//! Clients that are present in channels.

use std::sync::Arc;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use crate::messages::check_data;

/// A client in a channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Member {
    pub(crate) client: Arc<str>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    who: Option<Arc<Who>>,
}

/// What the token of a client says of its user.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub(crate) struct Who {
    /// The user's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) user: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) info: Option<Info>,
}

/// Any JSON that describes a user to others, on one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Info(Arc<str>);

/// Separates the user from the info where both are one text. Info is JSON, which has no such character.
const SEPARATOR: char = '\0';

impl Who {
    /// `None` if nothing is known.
    pub(crate) fn new(user: Option<Arc<str>>, info: Option<Info>) -> Option<Arc<Self>> {
        (user.is_some() || info.is_some()).then(|| Arc::new(Who { user, info }))
    }
}

impl Member {
    pub(crate) fn new(client: Arc<str>, who: Option<Arc<Who>>) -> Self {
        Member { client, who }
    }

    pub(crate) fn user(&self) -> Option<&Arc<str>> {
        self.who.as_ref()?.user.as_ref()
    }

    pub(crate) fn info(&self) -> Option<&Info> {
        self.who.as_ref()?.info.as_ref()
    }

    /// The user and the info as one text, for a broker. Without info that is the user's name.
    pub(crate) fn text(&self) -> String {
        let user = self.user().map_or("", |user| user);
        match self.info() {
            None if !user.contains(SEPARATOR) => user.to_owned(),
            info => format!("{user}{SEPARATOR}{}", info.map_or("", |info| &info.0)),
        }
    }

    /// The member `client` from such a text.
    pub(crate) fn read(client: Arc<str>, text: &str) -> Self {
        let (user, info) = text.rsplit_once(SEPARATOR).unwrap_or((text, ""));
        let given = |text: &str| (!text.is_empty()).then(|| Arc::from(text));
        Member::new(client, Who::new(given(user), given(info).map(Info)))
    }
}

impl<'de> Deserialize<'de> for Info {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = Box::<RawValue>::deserialize(deserializer)?;
        check_data(&json).map_err(|failure| D::Error::custom(failure.reason))?;
        // JSON has line breaks only between tokens.
        Ok(Info(json.get().replace(['\n', '\r'], " ").into()))
    }
}

impl Serialize for Info {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serde_json::from_str::<&RawValue>(&self.0)
            .unwrap_or(RawValue::NULL)
            .serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_and_info_are_one_text() {
        for (user, info, json) in [
            (None, None, r#"{"client":"c"}"#),
            (Some("ann"), None, r#"{"client":"c","user":"ann"}"#),
            (
                Some("ann"),
                Some(r#"{"a":1e999}"#),
                r#"{"client":"c","user":"ann","info":{"a":1e999}}"#,
            ),
            (None, Some("\"x\""), r#"{"client":"c","info":"x"}"#),
            (Some("a\0b"), None, "{\"client\":\"c\",\"user\":\"a\\u0000b\"}"),
        ] {
            let info: Option<Info> = info.map(|info| serde_json::from_str(info).unwrap());
            let member = Member::new("c".into(), Who::new(user.map(Into::into), info));
            assert_eq!(Member::read("c".into(), &member.text()), member, "{user:?}");
            assert_eq!(serde_json::to_string(&member).unwrap(), json);
        }
        assert_eq!(
            Member::read("c".into(), "ann").text(),
            "ann",
            "as earlier versions write it"
        );
    }
}
