//! The parameters of the extension: offer, answer and verification (RFC 7692 section 7.1).

use alloc::string::String;
use core::fmt::Write;

use super::{Parameters, Settings};
use crate::handshake::Extension;

const NAME: &str = "permessage-deflate";

/// The parameters of an offer or answer, as written.
#[derive(Debug, Default, PartialEq, Eq)]
struct Written {
    server_no_context_takeover: bool,
    client_no_context_takeover: bool,
    server_max_window_bits: Option<u8>,
    /// Whether the parameter is present, and its value if it has one.
    client_max_window_bits: Option<Option<u8>>,
}

impl Written {
    /// `None` for another extension, and for a parameter that is unknown, repeated or out of range.
    fn read(extension: Extension<'_>) -> Option<Self> {
        if !extension.name.eq_ignore_ascii_case(NAME) {
            return None;
        }
        let mut written = Written::default();
        for (name, value) in extension.parameters() {
            let again = match name {
                "server_no_context_takeover" if value.is_none() => {
                    core::mem::replace(&mut written.server_no_context_takeover, true)
                }
                "client_no_context_takeover" if value.is_none() => {
                    core::mem::replace(&mut written.client_no_context_takeover, true)
                }
                "server_max_window_bits" => written.server_max_window_bits.replace(bits(value?)?).is_some(),
                "client_max_window_bits" => {
                    let value = match value {
                        Some(value) => Some(bits(value)?),
                        None => None,
                    };
                    written.client_max_window_bits.replace(value).is_some()
                }
                _ => return None,
            };
            if again {
                return None;
            }
        }
        Some(written)
    }
}

/// A number from 8 to 15, without leading zeros.
fn bits(value: &str) -> Option<u8> {
    match value {
        "8" => Some(8),
        "9" => Some(9),
        _ => value
            .parse()
            .ok()
            .filter(|bits| value.len() == 2 && (10..=15).contains(bits)),
    }
}

/// The server's answer to an offer; `None` declines it.
pub(crate) fn accept(offer: Extension<'_>, settings: &Settings) -> Option<(Parameters, String)> {
    let offer = Written::read(offer)?;
    let ours = settings.server_max_window_bits.clamp(8, 15);
    let theirs = settings.client_max_window_bits.clamp(8, 15);
    let parameters = Parameters {
        server_no_context_takeover: offer.server_no_context_takeover || settings.server_no_context_takeover,
        client_no_context_takeover: offer.client_no_context_takeover || settings.client_no_context_takeover,
        server_max_window_bits: offer.server_max_window_bits.unwrap_or(15).min(ours),
        // The server may limit the client's window only if the client has offered this parameter (section 7.1.2.2).
        client_max_window_bits: offer
            .client_max_window_bits
            .map_or(15, |bits| bits.unwrap_or(15).min(theirs)),
    };
    let limited = parameters.server_max_window_bits < 15 || offer.server_max_window_bits.is_some();
    let server_bits = limited.then_some(parameters.server_max_window_bits);
    let client_bits = (parameters.client_max_window_bits < 15).then_some(parameters.client_max_window_bits);
    Some((parameters, write(parameters, server_bits, client_bits.map(Some))))
}

/// The client's offer.
pub(crate) fn offer(settings: &Settings) -> String {
    let server_bits = settings.server_max_window_bits.clamp(8, 15);
    let client_bits = settings.client_max_window_bits.clamp(8, 15);
    let parameters = Parameters {
        server_no_context_takeover: settings.server_no_context_takeover,
        client_no_context_takeover: settings.client_no_context_takeover,
        server_max_window_bits: server_bits,
        client_max_window_bits: client_bits,
    };
    let server_bits = (server_bits < 15).then_some(server_bits);
    write(parameters, server_bits, Some((client_bits < 15).then_some(client_bits)))
}

/// Checks the server's answer to [`offer`]. Returns the parameters, or `None` if the answer is not allowed.
pub(crate) fn verify(answer: Extension<'_>, settings: &Settings) -> Option<Parameters> {
    let answer = Written::read(answer)?;
    let asked = settings.server_max_window_bits.clamp(8, 15);
    let able = settings.client_max_window_bits.clamp(8, 15);
    let server_bits = answer.server_max_window_bits.unwrap_or(15);
    // In an answer, the parameter must have a value (section 7.1.2.2).
    let client_bits = match answer.client_max_window_bits {
        Some(bits) => bits?.min(able),
        None => able,
    };
    if server_bits > asked || (settings.server_no_context_takeover && !answer.server_no_context_takeover) {
        return None;
    }
    Some(Parameters {
        server_no_context_takeover: answer.server_no_context_takeover,
        client_no_context_takeover: answer.client_no_context_takeover || settings.client_no_context_takeover,
        server_max_window_bits: server_bits,
        client_max_window_bits: client_bits,
    })
}

fn write(parameters: Parameters, server_bits: Option<u8>, client_bits: Option<Option<u8>>) -> String {
    let mut value = String::from(NAME);
    if parameters.server_no_context_takeover {
        value.push_str("; server_no_context_takeover");
    }
    if parameters.client_no_context_takeover {
        value.push_str("; client_no_context_takeover");
    }
    // Writing to a string cannot fail.
    if let Some(bits) = server_bits {
        let _ = write!(value, "; server_max_window_bits={bits}");
    }
    match client_bits {
        Some(Some(bits)) => {
            let _ = write!(value, "; client_max_window_bits={bits}");
        }
        Some(None) => value.push_str("; client_max_window_bits"),
        None => {}
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handshake::Extensions;

    fn extension(value: &str) -> Extension<'_> {
        Extensions::new(value).unwrap().iter().next().unwrap()
    }

    fn takeover() -> Settings {
        Settings {
            server_no_context_takeover: false,
            client_no_context_takeover: false,
            ..Settings::default()
        }
    }

    #[test]
    fn w07_offers_with_bad_windows_are_declined() {
        for bad in ["7", "16", "08", "+9", "\"\"", "1e1", "256", "9 "] {
            let value = format!("permessage-deflate; server_max_window_bits={bad}");
            if let Ok(extensions) = Extensions::new(&value) {
                let offer = extensions.iter().next().unwrap();
                let accepted = accept(offer, &takeover()).is_some();
                assert_eq!(accepted, bad == "9 ", "{value}");
                assert_eq!(verify(offer, &takeover()).is_some(), bad == "9 ", "{value}");
            }
        }
        for bad in [
            "permessage-deflate; server_max_window_bits",
            "permessage-deflate; client_max_window_bits=7",
            "permessage-deflate; client_no_context_takeover=1",
            "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
            "permessage-deflate; unknown",
            "x-webkit-deflate-frame",
        ] {
            assert_eq!(accept(extension(bad), &takeover()), None, "{bad}");
        }
    }

    #[test]
    fn answers() {
        for (offer, settings, answer) in [
            ("permessage-deflate", takeover(), "permessage-deflate"),
            (
                "permessage-deflate; client_max_window_bits",
                takeover(),
                "permessage-deflate",
            ),
            (
                "permessage-deflate; client_max_window_bits; server_max_window_bits=10",
                Settings {
                    client_max_window_bits: 9,
                    ..takeover()
                },
                "permessage-deflate; server_max_window_bits=10; client_max_window_bits=9",
            ),
            (
                "permessage-deflate",
                Settings {
                    client_max_window_bits: 9,
                    ..takeover()
                },
                "permessage-deflate",
            ),
            (
                "permessage-deflate; client_no_context_takeover",
                Settings {
                    server_max_window_bits: 8,
                    ..takeover()
                },
                "permessage-deflate; client_no_context_takeover; server_max_window_bits=8",
            ),
        ] {
            assert_eq!(accept(extension(offer), &settings).unwrap().1, answer);
        }
    }

    #[test]
    fn both_ends_agree() {
        for bits in 8..=15 {
            for server_no_context_takeover in [false, true] {
                let client = Settings {
                    server_max_window_bits: bits,
                    server_no_context_takeover,
                    ..takeover()
                };
                let server = Settings {
                    client_max_window_bits: bits,
                    ..takeover()
                };
                let (at_server, answer) = accept(extension(&offer(&client)), &server).unwrap();
                assert_eq!(verify(extension(&answer), &client), Some(at_server));
            }
        }
        let strict = Settings {
            server_max_window_bits: 10,
            ..takeover()
        };
        assert_eq!(
            verify(extension("permessage-deflate; server_max_window_bits=11"), &strict),
            None
        );
        assert_eq!(
            verify(extension("permessage-deflate; client_max_window_bits"), &strict),
            None
        );
        assert_eq!(verify(extension("permessage-deflate"), &Settings::default()), None);
    }
}
