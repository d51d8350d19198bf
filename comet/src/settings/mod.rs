//! The settings, from flags, environment and file, validated.

mod options;
mod rules;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use drivers::Driver;
use proto_tls::Files;
use proto_ws::handshake::server::OriginPolicy;
use serde::Deserialize;
use serde::de::IntoDeserializer;

use crate::backend::{self, Event, Events};
use crate::broker::RedisUrl;
use crate::edge::{Edge, Networks, Proxies};
use crate::place;
use crate::publication::Encoding;
use crate::rule::{Access, Rules};
use crate::token::{ApiToken, Authority, Demands, Keys, Secret};

use rules::rules;

pub(crate) use options::{ChannelOptions, DriverName, Options, Span};

/// All settings, with defaults filled in.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) listen: Vec<String>,
    pub(crate) admin_listen: Option<String>,
    pub(crate) tls: Option<Tls>,
    pub(crate) proxies: Proxies,
    pub(crate) driver: Driver,
    pub(crate) threads: usize,
    pub(crate) prefork: Option<usize>,
    pub(crate) broker: BrokerUrl,
    pub(crate) authority: Authority,
    pub(crate) demands: Demands,
    pub(crate) api_token: Option<ApiToken>,
    pub(crate) backend: Option<backend::Settings>,
    pub(crate) origins: OriginPolicy,
    /// The cookie with a client's token.
    pub(crate) token_cookie: Option<String>,
    pub(crate) demo: bool,
    pub(crate) encoding: Encoding,
    pub(crate) drain: Duration,
    /// The time before the drain in which the server is not ready, and still accepts.
    pub(crate) drain_delay: Duration,
    /// The permissions of Unix sockets.
    pub(crate) unix_mode: Option<u32>,
    pub(crate) handover: Option<PathBuf>,
    pub(crate) rules: Rules,
    pub(crate) limits: Limits,
}

/// The TLS settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tls {
    pub(crate) files: Files,
    /// The address on which plain HTTP is redirected.
    pub(crate) redirect: Option<String>,
}

/// The broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum BrokerUrl {
    Memory,
    Redis(RedisUrl),
}

/// Limits of clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) connections: usize,
    pub(crate) per_address: Option<usize>,
    pub(crate) channels: usize,
    pub(crate) subscriptions: usize,
    pub(crate) message: usize,
    pub(crate) requests: u32,
    pub(crate) high_water: usize,
}

impl Settings {
    /// Validates `options`, and fills in defaults.
    ///
    /// # Errors
    ///
    /// All problems with the options.
    pub(crate) fn new(options: Options) -> Result<Self, Vec<String>> {
        let mut problems = Problems::default();
        let options = options.or(Options::defaults());
        let listen = options.listen.unwrap_or_default();
        if listen.is_empty() {
            problems.add("listen", "at least one address is needed");
        }
        for address in &listen {
            problems.place("listen", address);
        }
        if let Some(address) = &options.admin_listen {
            problems.place("admin_listen", address);
            if listen.contains(address) && !address.ends_with(":0") {
                problems.add("admin_listen", "is an address of listen too");
            }
        }
        let tls = tls(
            &mut problems,
            options.tls_cert.unwrap_or_default(),
            options.tls_key.unwrap_or_default(),
            options.tls_client_ca,
            options.tls_redirect,
        );
        let proxies = Proxies {
            announcing: problems.networks("proxy_protocol", options.proxy_protocol),
            trusted: problems.networks("trusted_proxies", options.trusted_proxies),
        };
        if let Some(network) = proxies.trusted.everyone() {
            tracing::warn!("trusted_proxies: {network} trusts everyone: clients can choose their address");
        }
        let secret = problems.secret("secret", options.secret, options.secret_file.as_deref());
        let secret = secret.and_then(|secret| problems.take("secret", Secret::new(&secret)));
        let keys = options.token_keys.as_deref();
        let keys = keys.and_then(|path| problems.take("token_keys", Keys::read(path)));
        let authority = Authority {
            secret,
            keys: keys.map(Arc::new),
        };
        let api_token = problems.secret("api_token", options.api_token, options.api_token_file.as_deref());
        let api_token = api_token.and_then(|token| problems.take("api_token", ApiToken::new(&token)));
        let secret = problems.secret(
            "backend_secret",
            options.backend_secret,
            options.backend_secret_file.as_deref(),
        );
        let backend = backend(
            &mut problems,
            options.webhook,
            options.webhook_events,
            [options.connect_proxy, options.subscribe_proxy, options.publish_proxy],
            secret,
            options.backend_timeout.map_or(Duration::ZERO, |span| span.0),
        );
        let questions = problems.positive("backend_questions", options.backend_questions);
        let backend = backend.map(|backend| backend::Settings { questions, ..backend });
        let demo = options.demo.unwrap_or(false);
        for channel in &options.channels {
            let urls = backend.as_ref().map(|backend| &backend.proxies);
            for (key, access, url) in [
                ("subscribe_proxy", channel.subscribe, urls.map(|urls| &urls.subscribe)),
                ("publish_proxy", channel.publish, urls.map(|urls| &urls.publish)),
            ] {
                if access == Some(Access::Proxy) && url.is_none_or(Option::is_none) {
                    let name = channel.name.to_string();
                    problems.add(
                        &format!("channel {name:?}"),
                        &format!("asks a back end, but there is no {key}"),
                    );
                }
            }
        }
        let rules = rules(&mut problems, options.channels, demo, authority.exists());
        let high_water = options.high_water;
        let origins = origins(&mut problems, options.origins);
        if let Some(name) = &options.token_cookie {
            problems.cookie(name, &origins);
        }
        let settings = Settings {
            threads: problems.positive("threads", options.threads),
            prefork: options
                .prefork
                .map(|workers| problems.positive("prefork", Some(workers))),
            unix_mode: options.unix_mode.and_then(|mode| problems.mode("unix_mode", &mode)),
            driver: options.driver.map_or_else(Driver::default, |name| name.0),
            broker: problems
                .take(
                    "broker",
                    options.broker.as_deref().map_or(Ok(BrokerUrl::Memory), broker),
                )
                .unwrap_or(BrokerUrl::Memory),
            origins,
            token_cookie: options.token_cookie,
            encoding: Encoding {
                compression: options
                    .compression
                    .unwrap_or(false)
                    .then(proto_ws::deflate::Settings::default),
            },
            drain: options.drain.map_or(Duration::ZERO, |span| span.0),
            drain_delay: options.drain_delay.map_or(Duration::ZERO, |span| span.0),
            handover: options.handover,
            limits: Limits {
                connections: problems.positive("max_connections", options.max_connections),
                per_address: options
                    .max_per_address
                    .map(|connections| problems.positive("max_per_address", Some(connections))),
                channels: problems.positive("max_channels", options.max_channels),
                subscriptions: problems.positive("max_subscriptions", options.max_subscriptions),
                message: problems.positive("max_message", options.max_message),
                requests: options.max_requests.unwrap_or(1).max(1),
                high_water: problems.positive("high_water", high_water),
            },
            demands: Demands {
                audience: options.token_audience,
                issuer: options.token_issuer,
                leeway: options.token_leeway.map_or(Duration::ZERO, |span| span.0),
            },
            listen,
            admin_listen: options.admin_listen,
            tls,
            proxies,
            authority,
            api_token,
            backend,
            demo,
            rules,
        };
        if options.max_requests == Some(0) {
            problems.add("max_requests", "0 would let nobody ask for anything");
        }
        problems.end(settings)
    }

    /// What is not wrong, but does nothing.
    pub(crate) fn idle(&self) -> Vec<String> {
        let hidden = self.rules.hidden().into_iter();
        let hidden = hidden.filter(|(name, _)| !name.to_string().starts_with('$'));
        hidden
            .map(|(name, first)| {
                format!(
                    "channel {name:?}: never applies, because the rule {first:?} comes before",
                    name = name.to_string(),
                    first = first.to_string()
                )
            })
            .collect()
    }

    /// Admits clients according to these settings.
    pub(crate) fn edge(&self) -> Edge {
        Edge::new(self.proxies.clone(), self.limits.per_address)
    }
}

/// The problems found.
#[derive(Debug, Default)]
struct Problems(Vec<String>);

impl Problems {
    fn add(&mut self, key: &str, problem: &str) {
        self.0.push(format!("{key}: {problem}"));
    }

    /// A place to listen: an address or a Unix socket.
    fn place(&mut self, key: &str, place: &str) {
        match place::path(place) {
            None => self.address(key, place),
            Some(path) if path.as_os_str().is_empty() => self.add(key, "unix: needs a path"),
            Some(_) => {}
        }
    }

    fn address(&mut self, key: &str, address: &str) {
        let parts = address.rsplit_once(':');
        if !parts.is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok()) {
            self.add(key, &format!("{address:?} is not HOST:PORT, such as 127.0.0.1:8080"));
        }
    }

    /// The name of a cookie (RFC 6265 section 4.1.1).
    fn cookie(&mut self, name: &str, origins: &OriginPolicy) {
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if name.is_empty() || !name.bytes().all(is_token) {
            self.add("token_cookie", &format!("{name:?} is not the name of a cookie"));
        }
        if matches!(origins, OriginPolicy::Any) {
            self.add(
                "token_cookie",
                "with origins = \"any\", every page could use the cookies of its visitors: name the origins",
            );
        }
    }

    fn networks(&mut self, key: &str, given: Option<Vec<String>>) -> Networks {
        Networks::read(&given.unwrap_or_default()).unwrap_or_else(|problems| {
            for problem in problems {
                self.add(key, &problem);
            }
            Networks::default()
        })
    }

    fn take<T>(&mut self, key: &str, outcome: Result<T, String>) -> Option<T> {
        outcome.map_err(|problem| self.add(key, &problem)).ok()
    }

    /// A number that has a default, or was given.
    fn positive(&mut self, key: &str, given: Option<usize>) -> usize {
        if given == Some(0) {
            self.add(key, "must be at least 1");
        }
        given.unwrap_or(1).max(1)
    }

    /// Permissions in octal.
    fn mode(&mut self, key: &str, given: &str) -> Option<u32> {
        let mode = u32::from_str_radix(given, 8).ok().filter(|mode| *mode <= 0o777);
        if mode.is_none() {
            self.add(key, &format!("{given:?} is no mode in octal, such as 660"));
        }
        mode
    }

    /// A secret, given directly or in a file.
    fn secret(&mut self, key: &str, given: Option<String>, file: Option<&Path>) -> Option<String> {
        if given.is_some() && file.is_some() {
            self.add(key, "is given, and in a file too");
        }
        let Some(path) = file else { return given };
        let read = std::fs::read_to_string(path).map_err(|error: io::Error| format!("{}: {error}", path.display()));
        let text = self.take(&format!("{key}_file"), read)?;
        if let Some(warning) = exposed(path) {
            tracing::warn!("{key}_file: {warning}");
        }
        Some(text.trim_end_matches(['\r', '\n']).to_owned())
    }

    fn end<T>(self, settings: T) -> Result<T, Vec<String>> {
        if self.0.is_empty() { Ok(settings) } else { Err(self.0) }
    }
}

/// A problem with the permissions of a file that holds a secret.
fn exposed(path: &Path) -> Option<String> {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(path).ok()?.permissions().mode();
    let what = match mode {
        mode if mode & 0o002 != 0 => "everyone on this machine can change it",
        mode if mode & 0o004 != 0 => "everyone on this machine can read it",
        mode if mode & 0o020 != 0 => "its whole group can change it",
        _ => return None,
    };
    Some(format!("{}: {what}: use chmod 600", path.display()))
}

/// Certificates with their keys. Whether they are usable is checked when they are loaded.
fn tls(
    problems: &mut Problems,
    certificates: Vec<PathBuf>,
    keys: Vec<PathBuf>,
    client_ca: Option<PathBuf>,
    redirect: Option<String>,
) -> Option<Tls> {
    if certificates.len() != keys.len() {
        let (certificates, keys) = (certificates.len(), keys.len());
        problems.add(
            "tls_cert",
            &format!("each needs its tls_key, but there are {certificates} and {keys}"),
        );
    }
    if let Some(address) = &redirect {
        problems.address("tls_redirect", address);
    }
    for (key, given) in [
        ("tls_client_ca", client_ca.is_some()),
        ("tls_redirect", redirect.is_some()),
    ] {
        if given && certificates.is_empty() {
            problems.add(key, "means nothing without tls_cert");
        }
    }
    for key in &keys {
        if let Some(warning) = exposed(key) {
            tracing::warn!("tls_key: {warning}");
        }
    }
    let pairs: Vec<_> = certificates.into_iter().zip(keys).collect();
    (!pairs.is_empty()).then_some(Tls {
        files: Files { pairs, client_ca },
        redirect,
    })
}

/// How the back end is told and asked, if it is.
fn backend(
    problems: &mut Problems,
    webhook: Option<String>,
    events: Option<Vec<String>>,
    proxies: [Option<String>; 3],
    secret: Option<String>,
    timeout: Duration,
) -> Option<backend::Settings> {
    let secret = secret.and_then(|secret| problems.take("backend_secret", Secret::new(&secret)));
    if events.is_some() && webhook.is_none() {
        problems.add("webhook_events", "means nothing without webhook");
    }
    let webhook = webhook.and_then(|url| problems.take("webhook", backend_url(&url)));
    let events = events.map(|names| {
        let read = |name: String| {
            let event = Event::deserialize(name.as_str().into_deserializer());
            event.map_err(|error: serde::de::value::Error| error.to_string())
        };
        let events = names.into_iter().map(read).collect::<Result<Vec<_>, _>>();
        problems.take("webhook_events", events).unwrap_or_default()
    });
    if timeout.is_zero() {
        problems.add("backend_timeout", "would let nobody answer");
    }
    let [connect, subscribe, publish] = proxies;
    let mut proxy = |key, url: Option<String>| url.and_then(|url| problems.take(key, backend_url(&url)));
    let proxies = backend::Urls {
        connect: proxy("connect_proxy", connect),
        subscribe: proxy("subscribe_proxy", subscribe),
        publish: proxy("publish_proxy", publish),
    };
    if webhook.is_none() && !proxies.any() {
        return None;
    }
    let Some(secret) = secret else {
        problems.add("backend_secret", "is needed to sign what comet sends to the back end");
        return None;
    };
    Some(backend::Settings {
        webhook,
        events: events.map_or(Events::ALL, |events| Events::of(&events)),
        proxies,
        questions: 0,
        secret,
        timeout,
    })
}

fn backend_url(url: &str) -> Result<url::Url, String> {
    match url::Url::parse(url) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(url),
        _ => Err(format!("{url:?} is not an http or https URL")),
    }
}

fn broker(url: &str) -> Result<BrokerUrl, String> {
    match url {
        "memory" => Ok(BrokerUrl::Memory),
        _ => RedisUrl::read(url)
            .map(BrokerUrl::Redis)
            .map_err(|problem| format!("neither \"memory\" nor redis://HOST:PORT: {problem}")),
    }
}

fn origins(problems: &mut Problems, origins: Option<Vec<String>>) -> OriginPolicy {
    let Some(origins) = origins else {
        return OriginPolicy::SameHost;
    };
    if origins == ["any"] {
        return OriginPolicy::Any;
    }
    for origin in &origins {
        // An origin is a scheme and a host with an optional port, and nothing else (RFC 6454 section 6.2).
        let host = origin.split_once("://").map_or("", |(_, host)| host);
        if host.is_empty() || host.contains('/') {
            problems.add(
                "origins",
                &format!("{origin:?} is neither \"any\" nor an origin such as https://example.com"),
            );
        }
    }
    OriginPolicy::OneOf {
        origins: origins.iter().map(|origin| origin.to_ascii_lowercase()).collect(),
        required: false,
    }
}
