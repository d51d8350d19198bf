//! Cookies of requests (RFC 6265).

use cookie::Cookie;

use crate::Call;

impl Call {
    /// The cookies of the request, their names and values percent-decoded. Pairs that are not valid cookies are left out. Over HTTP/2 they may come in
    /// several fields (RFC 9113 section 8.2.3).
    pub fn cookies(&self) -> impl Iterator<Item = Cookie<'_>> {
        let fields = self.head().fields().get_all("cookie");
        let text = fields.filter_map(|value| std::str::from_utf8(value).ok());
        text.flat_map(|value| Cookie::split_parse_encoded(value).flatten())
    }

    /// The value of the first cookie with this name.
    #[must_use]
    pub fn cookie(&self, name: &str) -> Option<String> {
        let cookie = self.cookies().find(|cookie| cookie.name() == name)?;
        Some(cookie.value().to_owned())
    }
}
