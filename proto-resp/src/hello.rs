//! The handshake: version and authentication.

use alloc::string::String;
use core::fmt;

use crate::{Buffer, Misuse, Version, write_command};

/// A client's settings for the handshake, shared by many connections.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Hello {
    /// The version to ask for. If the server refuses RESP3, RESP2 is used. Default RESP3.
    pub version: Version,
    /// The user name. Default `None`: `default`, if there is a password.
    pub username: Option<String>,
    /// The password. Default `None`: the client does not authenticate.
    pub password: Option<String>,
    /// A name for the connection, shown in the server's lists of clients. Default `None`.
    pub name: Option<String>,
    /// The number of the database to select. Default `None`, which is 0.
    pub database: Option<u32>,
}

impl Default for Hello {
    fn default() -> Self {
        Hello {
            version: Version::Resp3,
            username: None,
            password: None,
            name: None,
            database: None,
        }
    }
}

/// Leaves out the password.
impl fmt::Debug for Hello {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hello")
            .field("version", &self.version)
            .field("username", &self.username)
            .field("password", &self.password.as_ref().map(|_| ".."))
            .field("name", &self.name)
            .field("database", &self.database)
            .finish()
    }
}

impl Hello {
    /// Writes HELLO with its options.
    pub(crate) fn write<B: Buffer + ?Sized>(&self, out: &mut B) -> Result<(), Misuse> {
        let auth = self.password.as_ref().map(|password| {
            let username = self.username.as_deref().unwrap_or("default");
            ("AUTH", username, password)
        });
        let name = self.name.as_ref().map(|name| ("SETNAME", name));
        write_command(out, &("HELLO", "3", auth, name))
    }

    /// Writes the RESP2 commands that replace HELLO. Returns their number.
    pub(crate) fn write_apart<B: Buffer + ?Sized>(&self, out: &mut B) -> Result<u8, Misuse> {
        let mut written = 0;
        if let Some(password) = &self.password {
            write_command(out, &("AUTH", self.username.as_ref(), password))?;
            written += 1;
        }
        if let Some(name) = &self.name {
            write_command(out, &("CLIENT", "SETNAME", name))?;
            written += 1;
        }
        Ok(written + self.write_select(out)?)
    }

    /// Writes the commands for settings that HELLO lacks. Returns their number.
    pub(crate) fn write_select<B: Buffer + ?Sized>(&self, out: &mut B) -> Result<u8, Misuse> {
        match self.database {
            Some(database) => write_command(out, &("SELECT", database)).map(|()| 1),
            None => Ok(0),
        }
    }
}
