//! The grammar of the handshake's list fields (RFC 9110 section 5.6, RFC 6455 section 9.1).

/// The value does not match its grammar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed;

/// Removes optional white space at both ends.
pub(crate) fn trim(value: &str) -> &str {
    value.trim_matches([' ', '\t'])
}

/// A field value as ASCII text, without white space at its ends.
pub(crate) fn text(value: &[u8]) -> Result<&str, Malformed> {
    let value = core::str::from_utf8(value).map_err(|_| Malformed)?;
    if value.bytes().all(|byte| byte == b'\t' || (b' '..=b'~').contains(&byte)) {
        Ok(trim(value))
    } else {
        Err(Malformed)
    }
}

/// Whether `value` is a token (RFC 9110 section 5.6.2).
pub(crate) fn is_token(value: &str) -> bool {
    !value.is_empty()
        && value
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

/// The elements of a comma-separated list without quoted strings; empty elements are skipped (RFC 9110 section 5.6.1.2).
pub(crate) fn list(value: &str) -> impl Iterator<Item = &str> + Clone {
    value.split(',').map(trim).filter(|element| !element.is_empty())
}

/// Whether a list of tokens contains `token`, ignoring case.
pub(crate) fn has_token(value: &str, token: &str) -> bool {
    list(value).any(|element| element.eq_ignore_ascii_case(token))
}

/// An offered or accepted extension: its token and its parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extension<'a> {
    /// The registered name.
    pub name: &'a str,
    parameters: &'a str,
}

impl<'a> Extension<'a> {
    /// The parameters in order, each with its unquoted value, if it has one.
    pub fn parameters(self) -> impl Iterator<Item = (&'a str, Option<&'a str>)> + Clone {
        // A quoted value must contain a token (RFC 6455 section 9.1), so it has no semicolon.
        self.parameters
            .split(';')
            .map(trim)
            .filter(|parameter| !parameter.is_empty())
            .map(|parameter| match parameter.split_once('=') {
                None => (parameter, None),
                Some((name, value)) => (trim(name), Some(unquoted(trim(value)))),
            })
    }
}

fn unquoted(value: &str) -> &str {
    value
        .strip_prefix('"')
        .and_then(|value| value.strip_suffix('"'))
        .unwrap_or(value)
}

/// The extensions of one `Sec-WebSocket-Extensions` field, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extensions<'a>(&'a str);

impl<'a> Extensions<'a> {
    /// Validates the field.
    pub(crate) fn new(value: &'a str) -> Result<Self, Malformed> {
        let extensions = Extensions(value);
        let well_formed = |extension: Extension<'a>| {
            is_token(extension.name)
                && extension
                    .parameters()
                    .all(|(name, value)| is_token(name) && value.is_none_or(is_token))
        };
        if extensions.iter().all(well_formed) {
            Ok(extensions)
        } else {
            Err(Malformed)
        }
    }

    /// The extensions, in order.
    pub fn iter(self) -> impl Iterator<Item = Extension<'a>> + Clone {
        list(self.0).map(|extension| {
            let (name, parameters) = extension.split_once(';').unwrap_or((extension, ""));
            Extension {
                name: trim(name),
                parameters,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extensions_and_their_parameters() {
        let value = "permessage-deflate; client_max_window_bits; server_max_window_bits=\"10\", , x-other ;a = b";
        let extensions: Vec<_> = Extensions::new(value).unwrap().iter().collect();
        assert_eq!(extensions.len(), 2);
        assert_eq!(extensions[0].name, "permessage-deflate");
        assert_eq!(
            extensions[0].parameters().collect::<Vec<_>>(),
            [("client_max_window_bits", None), ("server_max_window_bits", Some("10"))]
        );
        assert_eq!(extensions[1].name, "x-other");
        assert_eq!(extensions[1].parameters().collect::<Vec<_>>(), [("a", Some("b"))]);
        for bad in ["a b", "a; b=", "a; =b", "a; b=\"c", "a; b=\"c,d\"", "\u{e9}"] {
            assert_eq!(Extensions::new(bad), Err(Malformed), "{bad}");
        }
    }
}
