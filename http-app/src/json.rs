//! JSON in requests and replies.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::error::Category;

use crate::{Call, IntoReply, Problem, Reply};

/// A 200 with a value as JSON, of `application/json`. A value that cannot be written, such as a map whose keys are no strings, is answered with 500.
#[derive(Clone, Copy, Debug)]
pub struct Json<T>(pub T);

impl<T: Serialize> IntoReply for Json<T> {
    fn into_reply(self) -> Reply {
        match serde_json::to_vec(&self.0) {
            Ok(text) => Reply::new(200).content("application/json", text),
            Err(error) => Problem::new(500, format!("the reply cannot be written: {error}")).into_reply(),
        }
    }
}

impl Call {
    /// The value that the body holds as JSON.
    ///
    /// # Errors
    ///
    /// A [`Problem`] of status 415 unless the body is of `application/json`, or of a media type that ends with `+json` (RFC 6839 section 3.1);
    /// 400 if the body is not JSON; 422 if the JSON is not a `T`.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        let media_type = self.media_type();
        let suffix = media_type
            .len()
            .checked_sub("+json".len())
            .and_then(|at| media_type.get(at..));
        if !self.is_of("application/json") && !suffix.is_some_and(|suffix| suffix.eq_ignore_ascii_case("+json")) {
            return Err(Problem::new(415, "the body must be of application/json"));
        }
        serde_json::from_slice(self.body()).map_err(|error| {
            let status = if error.classify() == Category::Data { 422 } else { 400 };
            Problem::new(status, format!("the body: {error}"))
        })
    }
}
