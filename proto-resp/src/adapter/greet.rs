//! The server's answers to HELLO and AUTH.

use crate::{Command, Version};

/// The request in a HELLO or AUTH.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Greeting<'a> {
    /// `None` keeps the version.
    pub(super) version: Option<Version>,
    /// User name and password.
    pub(super) credentials: Option<(&'a [u8], &'a [u8])>,
}

/// Parses `HELLO [2|3 [AUTH username password] [SETNAME name]]`. Returns the error to answer with if that fails.
pub(super) fn hello<'a>(command: &Command<'a>) -> Result<Greeting<'a>, &'static str> {
    let mut arguments = command.iter();
    let version = match arguments.next() {
        None => None,
        Some(b"2") => Some(Version::Resp2),
        Some(b"3") => Some(Version::Resp3),
        Some(other) if !other.is_empty() && other.iter().all(u8::is_ascii_digit) => {
            return Err("NOPROTO unsupported protocol version");
        }
        Some(_) => return Err("ERR Protocol version is not an integer or out of range"),
    };
    let mut credentials = None;
    while let Some(option) = arguments.next() {
        if option.eq_ignore_ascii_case(b"AUTH") {
            let (Some(username), Some(password)) = (arguments.next(), arguments.next()) else {
                return Err("ERR Syntax error in HELLO option 'auth'");
            };
            credentials = Some((username, password));
        } else if option.eq_ignore_ascii_case(b"SETNAME") {
            // The name is validated and then ignored: this server keeps no list of clients.
            let valid = |name: &[u8]| name.iter().all(|byte| (b'!'..=b'~').contains(byte));
            if !arguments.next().is_some_and(valid) {
                return Err("ERR Syntax error in HELLO option 'setname'");
            }
        } else {
            return Err("ERR Syntax error in HELLO");
        }
    }
    Ok(Greeting { version, credentials })
}

/// Parses `AUTH [username] password`. Returns the error to answer with if that fails.
pub(super) fn auth<'a>(command: &Command<'a>) -> Result<Greeting<'a>, &'static str> {
    let credentials = match (command.arguments(), command.arguments()) {
        (Some([password]), _) => (&b"default"[..], password),
        (_, Some([username, password])) => (username, password),
        _ => return Err("ERR wrong number of arguments for 'auth' command"),
    };
    Ok(Greeting {
        version: None,
        credentials: Some(credentials),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Arguments, Rules, write_command};

    fn read<T>(arguments: &impl Arguments, read: impl FnOnce(&Command<'_>) -> T) -> T {
        let mut bytes = Vec::new();
        write_command(&mut bytes, arguments).unwrap();
        let (command, _) = Command::parse(&bytes, &Rules::DEFAULT).unwrap().unwrap();
        read(&command)
    }

    #[test]
    fn what_hello_may_say() {
        let all = ("HELLO", "3", "setname", "me", "Auth", "ada", "secret");
        read(&all, |command| {
            assert_eq!(
                hello(command),
                Ok(Greeting {
                    version: Some(Version::Resp3),
                    credentials: Some((b"ada", b"secret")),
                })
            );
        });
        read(&"HELLO", |command| assert_eq!(hello(command).unwrap().version, None));
        for (arguments, code) in [
            (vec!["HELLO", "4"], "NOPROTO"),
            (vec!["HELLO", "three"], "ERR Protocol"),
            (vec!["HELLO", ""], "ERR Protocol"),
            (vec!["HELLO", "3", "AUTH", "ada"], "ERR Syntax"),
            (vec!["HELLO", "3", "SETNAME", "a b"], "ERR Syntax"),
            (vec!["HELLO", "3", "SETNAME"], "ERR Syntax"),
            (vec!["HELLO", "3", "PLEASE"], "ERR Syntax"),
        ] {
            let error = read(&arguments, |command| hello(command).unwrap_err());
            assert!(error.starts_with(code), "{arguments:?}: {error}");
        }
    }

    #[test]
    fn what_auth_may_say() {
        read(&("AUTH", "secret"), |command| {
            assert_eq!(
                auth(command).unwrap().credentials,
                Some((&b"default"[..], &b"secret"[..]))
            );
        });
        read(&("AUTH", "ada", "secret"), |command| {
            assert_eq!(auth(command).unwrap().credentials, Some((&b"ada"[..], &b"secret"[..])));
        });
        assert!(read(&"AUTH", |command| auth(command).is_err()));
    }
}
