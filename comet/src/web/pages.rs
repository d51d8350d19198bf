//! The page and its resources.

use proto_http::{FieldBlock, Misuse, Request, Responder};

use super::get;

/// The fields of every answer to a browser: no resources from elsewhere, and no guessing of types.
const POLICY: &str = "Content-Security-Policy: default-src 'self'; connect-src 'self'; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'\r\nX-Content-Type-Options: nosniff\r\n\
                      Referrer-Policy: no-referrer\r\nCache-Control: no-cache\r\n";

/// Static resources.
pub(super) struct Pages(Vec<Page>);

struct Page {
    path: &'static str,
    fields: String,
    body: &'static str,
}

impl Pages {
    /// The pages of a server; with `demo`, the first of them shows a demonstration.
    pub(super) fn new(demo: bool) -> Result<Self, Misuse> {
        let first = match demo {
            true => include_str!("../../page/index.html"),
            false => include_str!("../../page/welcome.html"),
        };
        let page = |path, kind: &str, body| {
            let fields = format!("Content-Type: {kind}; charset=utf-8\r\n{POLICY}");
            FieldBlock::new(&fields)?;
            Ok::<_, proto_http::Misuse>(Page { path, fields, body })
        };
        Ok(Pages(vec![
            page("/", "text/html", first)?,
            page("/admin", "text/html", include_str!("../../page/admin.html"))?,
            page("/admin.css", "text/css", include_str!("../../page/admin.css"))?,
            page("/admin.js", "text/javascript", include_str!("../../page/admin.js"))?,
            page("/style.css", "text/css", include_str!("../../page/style.css"))?,
            page("/app.js", "text/javascript", include_str!("../../page/app.js"))?,
            page("/comet.js", "text/javascript", include_str!("../../client/comet.js"))?,
            page(
                "/event-streams.js",
                "text/javascript",
                include_str!("../../client/event-streams.js"),
            )?,
            page("/icon.svg", "image/svg+xml", include_str!("../../page/icon.svg"))?,
            page("/plot.js", "text/javascript", include_str!("../../page/plot.js"))?,
        ]))
    }

    pub(super) fn answer(&self, request: &Request<'_>, answer: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        match self.0.iter().find(|page| page.path == request.path()) {
            Some(page) => get(request, answer, |answer| {
                answer.send(200, &FieldBlock::new(&page.fields)?, page.body.as_bytes())
            }),
            None => answer.send(404, super::PLAIN, b"not found\n"),
        }
    }
}
