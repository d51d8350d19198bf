//! What the page and the room say to each other: JSON in text messages.

use std::sync::Arc;

use proto_ws::{CloseCode, Handler, Message, PreparedMessage, Socket};
use protocol::Sender;
use serde::{Deserialize, Serialize};

use crate::hub::{Hub, Membership};

/// A message on its way to a client, encoded once for all.
pub(crate) type Post = PreparedMessage;

/// The longest text one may say, in bytes.
const LONGEST: usize = 2000;

/// What a client says.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum FromClient<'a> {
    Say {
        #[serde(borrow)]
        text: std::borrow::Cow<'a, str>,
        #[serde(borrow, default)]
        name: std::borrow::Cow<'a, str>,
    },
}

/// What a client hears.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(crate) enum ToClient<'a> {
    /// Who it is.
    Welcome { name: &'a str },
    /// Somebody said something.
    Said { from: &'a str, text: &'a str },
    /// How many are there, and how many posts were not delivered to clients that do not read.
    Count { connections: usize, missed: u64 },
    /// What it said was not understood.
    Error { reason: &'a str },
}

impl ToClient<'_> {
    pub(crate) fn encode(&self) -> Post {
        // Plain strings and numbers always make JSON.
        PreparedMessage::text(&serde_json::to_string(self).unwrap_or_default())
    }
}

/// One client in the room.
pub(crate) struct Member {
    hub: Arc<Hub>,
    sender: Option<Sender<Post>>,
    membership: Option<Membership>,
}

impl Member {
    pub(crate) fn new(hub: Arc<Hub>, sender: Sender<Post>) -> Self {
        Member {
            hub,
            sender: Some(sender),
            membership: None,
        }
    }

    fn say(&self, socket: &mut Socket<'_, '_>, message: Message<'_>) {
        let Some(membership) = &self.membership else { return };
        let said = match message {
            Message::Text(text) => serde_json::from_str(text).map_err(|_| "not a message of this chat"),
            Message::Binary(_) => Err("this chat is text"),
        };
        match said {
            Ok(FromClient::Say { text, .. }) if text.trim().is_empty() => {}
            Ok(FromClient::Say { text, .. }) if text.len() > LONGEST => tell(socket, &too_long()),
            Ok(FromClient::Say { text, name }) => {
                let guest = guest(membership.number);
                let from = if name.trim().is_empty() || name.len() > 40 {
                    guest.as_str()
                } else {
                    name.trim()
                };
                membership.hub().post(&ToClient::Said { from, text: &text });
            }
            Err(reason) => tell(socket, &ToClient::Error { reason }),
        }
    }
}

fn too_long() -> ToClient<'static> {
    ToClient::Error {
        reason: "longer than 2000 bytes",
    }
}

fn guest(number: u64) -> String {
    format!("guest-{number}")
}

/// Tells this client alone. It fails only while closing, when nobody listens.
fn tell(socket: &mut Socket<'_, '_>, message: &ToClient<'_>) {
    let _ = socket.prepared(&message.encode());
}

impl Handler for Member {
    type Message = Post;

    fn opened(&mut self, socket: &mut Socket<'_, '_>) {
        if let Some(sender) = self.sender.take() {
            let membership = self.hub.join(sender);
            tell(
                socket,
                &ToClient::Welcome {
                    name: &guest(membership.number),
                },
            );
            self.membership = Some(membership);
        }
    }

    fn message(&mut self, socket: &mut Socket<'_, '_>, message: Message<'_>) {
        self.say(socket, message);
    }

    fn posted(&mut self, socket: &mut Socket<'_, '_>, post: Post) {
        let _ = socket.prepared(&post);
    }

    fn closed(&mut self, _: CloseCode, _: &str) {
        self.membership = None;
    }
}
