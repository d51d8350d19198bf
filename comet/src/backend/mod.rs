//! The operator's back end: it is told what happens (webhooks), and asked what is allowed (proxies).

mod proxy;
mod webhook;

use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use drivers::{Driver, Server};
use hmac::Mac;
use http_client::{Client, RequestBuilder};

use crate::broker::Done;
use crate::publication::{Draft, Position};
use crate::token::Secret;

pub(crate) use proxy::{Head, Pending, Proxy, Question, UNANSWERED, Urls, Verdict};
pub(crate) use webhook::{About, Counts as HookCounts, Event, Events, Webhook};

/// The most bytes of an answer.
const ANSWER: u64 = 1 << 20;
/// The field with the signature of a request.
const SIGNATURE: &str = "Comet-Signature";

/// How the back end is reached.
#[derive(Clone)]
pub(crate) struct Settings {
    /// Where events go.
    pub(crate) webhook: Option<url::Url>,
    /// Which events are told.
    pub(crate) events: Events,
    /// Where it is asked.
    pub(crate) proxies: Urls,
    /// The most questions that wait for answers in a process.
    pub(crate) questions: usize,
    /// Signs all requests.
    pub(crate) secret: Secret,
    /// How long an answer may take.
    pub(crate) timeout: Duration,
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings")
            .field("webhook", &self.webhook.as_ref().map(url::Url::as_str))
            .field("events", &self.events)
            .field("proxies", &self.proxies)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// Makes signed requests.
#[derive(Clone)]
pub(crate) struct Caller {
    client: Client,
    secret: Secret,
    timeout: Duration,
}

impl Caller {
    /// # Errors
    ///
    /// If no thread can be started.
    fn new(driver: Driver, settings: &Settings) -> io::Result<Self> {
        let mut http = http_client::Settings::default();
        // The body of a request must reach the URL that is configured, or nobody.
        http.redirects = http_client::Redirects::none();
        http.decompress = false;
        http.max_content = ANSWER;
        Ok(Caller {
            client: Client::on(&Server::on(driver), http)?,
            secret: settings.secret.clone(),
            timeout: settings.timeout,
        })
    }

    /// A request with this body, signed now.
    fn post(&self, url: &url::Url, body: Vec<u8>) -> RequestBuilder {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        let request = self.client.post(url.as_str()).timeout(self.timeout);
        request
            .header("Content-Type", "application/json")
            .header(SIGNATURE, signature(&self.secret, now, &body))
            .body(body)
    }
}

/// The signature of a body: the time in seconds since 1970, and HMAC-SHA256 of the time, a dot and the body.
fn signature(secret: &Secret, now: u64, body: &[u8]) -> String {
    let mut mac = secret.mac(&format!("{now}."));
    mac.update(body);
    let hex: String = mac
        .finalize()
        .into_bytes()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("t={now},v1={hex}")
}

impl Done<Position> {
    /// Also tells `webhook` of the publication, if it succeeds. Made twice with the same key, it is told twice, with the same position.
    pub(crate) fn telling(self, webhook: &Arc<Webhook>, draft: &Draft, client: Option<String>) -> Self {
        let (webhook, channel, user) = (Arc::clone(webhook), draft.channel.clone(), draft.user.clone());
        let data = draft.data.clone();
        self.also(move |outcome| {
            if let Ok(position) = outcome {
                let about = About {
                    channel: Some(&channel),
                    client: client.as_deref(),
                    user: user.as_deref(),
                    position: Some(*position),
                    data: serde_json::from_slice(&data).ok(),
                    occupied: None,
                };
                webhook.tell(Event::Publish, about);
            }
        })
    }
}

/// What runs for the back end in this process.
pub(crate) struct Backend {
    pub(crate) webhook: Option<Arc<Webhook>>,
    pub(crate) proxy: Option<Arc<Proxy>>,
}

impl Backend {
    /// # Errors
    ///
    /// If no thread can be started.
    pub(crate) fn start(driver: Driver, settings: &Settings, node: &str, start: &str) -> io::Result<Self> {
        let caller = Caller::new(driver, settings)?;
        let urls = &settings.proxies;
        let proxy = urls
            .any()
            .then(|| Arc::new(Proxy::new(caller.clone(), urls.clone(), settings.questions)));
        let webhook = settings.webhook.as_ref();
        let webhook = webhook.map(|url| Webhook::start(caller.clone(), url.clone(), settings.events, node, start));
        Ok(Backend {
            webhook: webhook.transpose()?,
            proxy,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by Python: `hmac.new(secret, b"1700000000." + body, "sha256").hexdigest()`.
    #[test]
    fn signatures_are_those_of_others() {
        let secret = Secret::new("0123456789abcdef0123456789abcdef").unwrap();
        assert_eq!(
            signature(&secret, 1_700_000_000, br#"{"a":1}"#),
            "t=1700000000,v1=f05f2539e3ae1c49aec5f8cfdad75ef6b06480b133973ffbb7ec9e18827af177"
        );
    }
}
