//! Names and values of a query or a form.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use crate::Problem;

/// The decoded names and values of a query or a form (`application/x-www-form-urlencoded`), in order. Bytes that are not UTF-8 are
/// replaced by U+FFFD, as in the URL standard of the WHATWG.
///
/// A view: each look-up reads the text from its beginning.
#[derive(Clone, Copy, Debug)]
pub struct Pairs<'a> {
    text: &'a [u8],
}

impl<'a> Pairs<'a> {
    /// The pairs of an encoded text, without the `?`.
    #[must_use]
    pub fn new(text: &'a [u8]) -> Self {
        Self { text }
    }

    /// The value of the first pair with this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Cow<'a, str>> {
        self.all(name).next()
    }

    /// The value of the first pair with this name, parsed.
    ///
    /// # Errors
    ///
    /// A [`Problem`] of status 400 that names the pair if its value cannot be parsed.
    pub fn get_as<T: FromStr<Err: fmt::Display>>(&self, name: &str) -> Result<Option<T>, Problem> {
        let parse = |value: Cow<'_, str>| {
            let bad = |error: T::Err| Problem::new(400, format!("{name}: {error}"));
            value.parse().map_err(bad)
        };
        self.get(name).map(parse).transpose()
    }

    /// The values of all pairs with this name.
    pub fn all(&self, name: &str) -> impl Iterator<Item = Cow<'a, str>> {
        self.iter()
            .filter(move |(found, _)| found == name)
            .map(|(_, value)| value)
    }

    /// All names and values.
    pub fn iter(&self) -> impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)> + use<'a> {
        form_urlencoded::parse(self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_decoded_once_behind_the_split() {
        let pairs = Pairs::new(b"a=1&b=%26%3D&c=x+y%2Bz&a=2&d&=e&f=%2525&g=%C3%BC&h=%FF");
        let get = |name| pairs.get(name);
        assert_eq!(get("a").as_deref(), Some("1"));
        assert_eq!(pairs.all("a").collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(get("b").as_deref(), Some("&="));
        assert_eq!(get("c").as_deref(), Some("x y+z"));
        assert_eq!(get("d").as_deref(), Some(""));
        assert_eq!(get("").as_deref(), Some("e"));
        assert_eq!(get("f").as_deref(), Some("%25"));
        assert_eq!(get("g").as_deref(), Some("ü"));
        assert_eq!(get("h").as_deref(), Some("\u{FFFD}"));
        assert_eq!(get("i"), None);
        assert_eq!(pairs.iter().count(), 9);
        assert_eq!(Pairs::new(b"").iter().count(), 0);
    }

    #[test]
    fn values_are_parsed() {
        let pairs = Pairs::new(b"page=7&size=x");
        assert_eq!(pairs.get_as("page"), Ok(Some(7)));
        assert_eq!(pairs.get_as::<u32>("none"), Ok(None));
        let error = pairs.get_as::<u32>("size").unwrap_err();
        assert_eq!(
            (error.status(), error.text()),
            (400, "size: invalid digit found in string")
        );
    }
}
