//! Files that were compressed beforehand (RFC 9110 section 12.5.3).

use proto_http::Fields;

/// An encoding: its name in `Content-Encoding`, and how the names of its files end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Encoding {
    pub(crate) name: &'static str,
    pub(crate) suffix: &'static str,
}

/// Those that are known, the best first.
pub(crate) const ENCODINGS: [Encoding; 3] = [
    Encoding {
        name: "br",
        suffix: ".br",
    },
    Encoding {
        name: "zstd",
        suffix: ".zst",
    },
    Encoding {
        name: "gzip",
        suffix: ".gz",
    },
];

/// Weights are in thousandths (section 12.4.2).
const ONE: u16 = 1000;

/// The encodings that the client accepts and prefers to the plain file, the one it likes best first.
pub(crate) fn accepted(fields: Fields<'_>) -> impl Iterator<Item = Encoding> {
    let mut weights = [(None, ENCODINGS[0]); ENCODINGS.len()];
    let (mut identity, mut others) = (None, None);
    for (slot, encoding) in weights.iter_mut().zip(ENCODINGS) {
        slot.1 = encoding;
    }
    for element in fields
        .list("accept-encoding")
        .filter_map(|element| str::from_utf8(element).ok())
    {
        let (coding, parameters) = element.split_once(';').unwrap_or((element, ""));
        let (coding, weight) = (coding.trim(), weight(parameters));
        let is = |name: &str| coding.eq_ignore_ascii_case(name);
        if is("identity") {
            identity = weight;
        } else if coding == "*" {
            others = weight;
        } else if let Some(slot) = weights
            .iter_mut()
            .find(|(_, encoding)| is(encoding.name) || (encoding.name == "gzip" && is("x-gzip")))
        {
            slot.0 = weight;
        }
    }
    for slot in &mut weights {
        slot.0 = slot.0.or(others);
    }
    weights.sort_by_key(|(weight, _)| core::cmp::Reverse(weight.unwrap_or(0)));
    let plain = identity.unwrap_or(0);
    weights
        .into_iter()
        .filter(move |(weight, _)| weight.is_some_and(|weight| weight > 0 && weight >= plain))
        .map(|(_, encoding)| encoding)
}

/// The weight among the parameters of an element; one if there is none. What is wrong is no weight at all, so that the element counts for
/// nothing.
fn weight(parameters: &str) -> Option<u16> {
    let Some((name, value)) = parameters.trim().split_once('=') else {
        return parameters.trim().is_empty().then_some(ONE);
    };
    let value = value.trim();
    if !name.trim().eq_ignore_ascii_case("q") || value.len() > 5 {
        return None;
    }
    let (whole, fraction) = value.split_once('.').unwrap_or((value, ""));
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let thousandths = format!("{fraction:0<3}").parse().ok()?;
    match whole {
        "0" => Some(thousandths),
        "1" if thousandths == 0 => Some(ONE),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto_http::{Parsed, Request, Rules};

    #[test]
    fn preferences() {
        for (value, expected) in [
            ("", ""),
            ("gzip", "gzip"),
            ("gzip, deflate, br, zstd", "br zstd gzip"),
            ("br;q=0.5, gzip", "gzip br"),
            ("br;q=0, gzip", "gzip"),
            ("*", "br zstd gzip"),
            ("*;q=0.1, zstd", "zstd br gzip"),
            ("*;q=0", ""),
            ("*;q=0, gzip;q=0.001", "gzip"),
            ("identity, gzip;q=0.5", ""),
            ("identity;q=0.5, gzip;q=1.000", "gzip"),
            ("GZIP ; Q=0.3", "gzip"),
            ("x-gzip", "gzip"),
            ("gzip;q=2", ""),
            ("gzip;q=0.1234", ""),
            ("gzip;q=1.5", ""),
            ("gzip;q=", ""),
            ("gzip;x=1", ""),
            ("deflate", ""),
        ] {
            let head = format!("GET / HTTP/1.1\r\nHost: x\r\nAccept-Encoding: {value}\r\n\r\n");
            let Ok(Parsed::Complete { head, .. }) = Request::parse(head.as_bytes(), &Rules::default()) else {
                panic!("{value}")
            };
            let seen: Vec<_> = accepted(head.fields()).map(|encoding| encoding.name).collect();
            assert_eq!(seen.join(" "), expected, "{value}");
        }
    }
}
