//! A whole request.

use std::net::SocketAddr;
use std::str::FromStr;

use bytes::Bytes;
use proto_http::{KeptRequest, Request, Target};

use crate::{Pairs, Problem};

/// A request with its whole body and the parameters of its route. It owns all its parts, so that a future can hold it.
#[derive(Clone, Debug)]
pub struct Call {
    head: KeptRequest,
    body: Bytes,
    /// Names and decoded values.
    params: Vec<(Box<str>, Box<str>)>,
    remote: Option<SocketAddr>,
}

impl Call {
    pub(crate) fn new(
        head: KeptRequest,
        body: Bytes,
        params: Vec<(Box<str>, Box<str>)>,
        remote: Option<SocketAddr>,
    ) -> Self {
        Self {
            head,
            body,
            params,
            remote,
        }
    }

    /// The head: method, target and fields.
    #[must_use]
    pub fn head(&self) -> Request<'_> {
        self.head.view()
    }

    /// The method, case-sensitive.
    #[must_use]
    pub fn method(&self) -> &str {
        self.head().method()
    }

    /// The path as sent, not decoded.
    #[must_use]
    pub fn path(&self) -> &str {
        self.head().path()
    }

    /// The value of the first field with this name, ignoring case; `None` also if the value is not UTF-8.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        self.head().fields().get_str(name)
    }

    /// The client's address; `None` where the transport has none. Behind a proxy this is the address of the proxy, unless the connection has
    /// a layer that knows better (`proto-proxy`).
    #[must_use]
    pub fn remote(&self) -> Option<SocketAddr> {
        self.remote
    }

    /// The value of a parameter of the route, percent-decoded.
    #[must_use]
    pub fn param(&self, name: &str) -> Option<&str> {
        let (_, value) = self.params.iter().find(|(found, _)| **found == *name)?;
        Some(value)
    }

    /// The value of a parameter of the route, parsed.
    ///
    /// # Errors
    ///
    /// A [`Problem`] of status 404 if the value cannot be parsed: no resource has such a path. Status 500 if the route has no such
    /// parameter.
    pub fn param_as<T: FromStr>(&self, name: &str) -> Result<T, Problem> {
        let missing = || Problem::new(500, format!("the route has no parameter {name}"));
        let value = self.param(name).ok_or_else(missing)?;
        value.parse().map_err(|_| Problem::not_found())
    }

    /// The names and values of the query; none without a query.
    #[must_use]
    pub fn query(&self) -> Pairs<'_> {
        let query = match self.head().target_form() {
            Target::Origin { query, .. } | Target::Absolute { query, .. } => query,
            Target::Authority(_) | Target::Asterisk => None,
        };
        Pairs::new(query.unwrap_or_default().as_bytes())
    }

    /// The body.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The body as text.
    ///
    /// # Errors
    ///
    /// A [`Problem`] of status 400 if the body is not UTF-8.
    pub fn text(&self) -> Result<&str, Problem> {
        let bad = |error: std::str::Utf8Error| Problem::new(400, format!("the body is not text: {error}"));
        std::str::from_utf8(&self.body).map_err(bad)
    }

    /// The names and values of a form in the body.
    ///
    /// # Errors
    ///
    /// A [`Problem`] of status 415 unless the body is of `application/x-www-form-urlencoded`.
    pub fn form(&self) -> Result<Pairs<'_>, Problem> {
        if self.is_of("application/x-www-form-urlencoded") {
            return Ok(Pairs::new(&self.body));
        }
        Err(Problem::new(
            415,
            "the body must be of application/x-www-form-urlencoded",
        ))
    }

    /// Whether the body has this media type, whatever its parameters (RFC 9110 section 8.3.1).
    #[must_use]
    pub fn is_of(&self, media_type: &str) -> bool {
        self.media_type().eq_ignore_ascii_case(media_type)
    }

    /// The media type of the body without its parameters; empty if the request does not say.
    pub(crate) fn media_type(&self) -> &str {
        let value = self.field("content-type").unwrap_or_default();
        value.split(';').next().unwrap_or_default().trim_end()
    }
}

/// Decodes the value of a parameter.
pub(crate) fn decode(value: &str) -> Result<Box<str>, Problem> {
    let bad = |_| Problem::new(400, "the path is not UTF-8");
    let decoded = percent_encoding::percent_decode_str(value).decode_utf8().map_err(bad)?;
    Ok(decoded.into())
}
