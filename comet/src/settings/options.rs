//! The options: flags and environment variables, and keys of the same names in a file.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use drivers::Driver;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::channel::Pattern;
use crate::logging::{Format, Level};
use crate::rule::{Access, Slow};

/// How long the back end may take to answer.
const BACKEND_PATIENCE: Duration = Duration::from_secs(3);

/// A time such as `10s`, `1m 30s` or `250ms`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span(pub(crate) Duration);

impl FromStr for Span {
    type Err = humantime::DurationError;

    fn from_str(span: &str) -> Result<Self, Self::Err> {
        humantime::parse_duration(span).map(Span)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse()
            .map_err(|error| serde::de::Error::custom(format!("{text:?} is no time such as \"10s\": {error}")))
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Declares the options once: as flags, as keys of the file, and how one source takes precedence.
macro_rules! options {
    ($($(#[doc = $doc:literal])+ $(#[arg($($arg:tt)*)])? $name:ident: $type:ty,)*) => {
        /// The options, all of which are optional.
        #[derive(Debug, Clone, Default, Args, Deserialize, Serialize)]
        #[serde(deny_unknown_fields, default)]
        pub(crate) struct Options {
            $(
                $(#[doc = $doc])+
                #[arg(long, $($($arg)*)?)]
                #[serde(skip_serializing_if = "Option::is_none")]
                pub(crate) $name: Option<$type>,
            )*
            /// The channels' rules; only in the file.
            #[arg(skip)]
            #[serde(rename = "channel", skip_serializing_if = "Vec::is_empty")]
            pub(crate) channels: Vec<ChannelOptions>,
        }

        impl Options {
            /// The names of all options that are also flags.
            pub(crate) const NAMES: &'static [&'static str] = &[$(stringify!($name)),*];

            /// These options, completed by those of `other`.
            pub(crate) fn or(self, other: Options) -> Options {
                Options {
                    $($name: self.$name.or(other.$name),)*
                    channels: if self.channels.is_empty() { other.channels } else { self.channels },
                }
            }
        }
    };
}

options! {
    /// Where to listen, HOST:PORT or unix:PATH; more than once for several addresses [default: 127.0.0.1:8080]
    #[arg(value_name = "ADDR", value_delimiter = ',')]
    listen: Vec<String>,
    /// Where to serve metrics, health, the API and its page, HOST:PORT or unix:PATH; they are then served nowhere else
    #[arg(value_name = "ADDR")]
    admin_listen: String,
    /// The permissions of Unix sockets, in octal [default: those that the umask leaves]
    #[arg(value_name = "MODE")]
    unix_mode: String,
    /// The server's certificate in PEM, followed by its issuers: https and wss instead of http and ws. Several for several names
    #[arg(value_name = "FILE")]
    tls_cert: Vec<PathBuf>,
    /// The key of each certificate in PEM, in the same order. All files are read again when they change, and after SIGHUP
    #[arg(value_name = "FILE")]
    tls_key: Vec<PathBuf>,
    /// Certificate authorities in PEM: clients must present a certificate of one of them
    #[arg(value_name = "FILE")]
    tls_client_ca: PathBuf,
    /// Where plain HTTP is redirected to https, HOST:PORT
    #[arg(value_name = "ADDR")]
    tls_redirect: String,
    /// Networks, addresses or "unix": connections from there begin with a PROXY protocol header, of version 1 or 2; all others with none
    #[arg(value_name = "NET", value_delimiter = ',')]
    proxy_protocol: Vec<String>,
    /// Networks, addresses or "unix": `Forwarded` and `X-Forwarded-For` of requests from there name the client
    #[arg(value_name = "NET", value_delimiter = ',')]
    trusted_proxies: Vec<String>,
    /// Which driver: epoll or tokio [default: the fastest here]
    #[arg(value_name = "DRIVER")]
    driver: DriverName,
    /// The number of threads [default: 1]
    #[arg(value_name = "N")]
    threads: usize,
    /// The number of processes: for more connections than one process may have descriptors
    #[arg(value_name = "N")]
    prefork: usize,
    /// Where publications go: "memory", or redis://HOST:PORT [default: memory]
    #[arg(value_name = "URL")]
    broker: String,
    /// The secret that signs tokens, at least 32 bytes; better in a file that not everyone on the machine can read
    #[arg(value_name = "SECRET", env = "COMET_SECRET", hide_env_values = true)]
    secret: String,
    /// The file with the secret
    #[arg(value_name = "FILE", conflicts_with = "secret")]
    secret_file: PathBuf,
    /// The required audience of tokens (`aud`); without it, tokens that name an audience are refused
    #[arg(value_name = "NAME")]
    token_audience: String,
    /// A file with a JSON Web Key Set, whose keys sign tokens by RS256, ES256 or EdDSA; it is read again when it changes
    #[arg(value_name = "FILE")]
    token_keys: PathBuf,
    /// The required issuer of tokens (`iss`) [default: anyone with the secret]
    #[arg(value_name = "NAME")]
    token_issuer: String,
    /// The tolerated difference between the clocks of token issuers and this machine [default: 0s]
    #[arg(value_name = "TIME")]
    token_leeway: Span,
    /// The name of a cookie that may hold a client's token; it counts for pages of the server's own host and of `origins`
    #[arg(value_name = "NAME")]
    token_cookie: String,
    /// The token with which a back end uses the API; better in a file
    #[arg(value_name = "TOKEN", env = "COMET_API_TOKEN", hide_env_values = true)]
    api_token: String,
    /// The file with the API token
    #[arg(value_name = "FILE", conflicts_with = "api_token")]
    api_token_file: PathBuf,
    /// Where the back end is told what happens: an http or https URL, which needs a backend_secret
    #[arg(value_name = "URL")]
    webhook: String,
    /// What it is told of: connect, authorize, disconnect, subscribe, unsubscribe, publish, presence [default: all]
    #[arg(value_name = "EVENT", value_delimiter = ',')]
    webhook_events: Vec<String>,
    /// Where the back end is asked about clients that connect without a token: an http or https URL
    #[arg(value_name = "URL")]
    connect_proxy: String,
    /// Where it is asked about subscriptions, in channels with subscribe = "proxy"
    #[arg(value_name = "URL")]
    subscribe_proxy: String,
    /// Where it is asked about publications, in channels with publish = "proxy"
    #[arg(value_name = "URL")]
    publish_proxy: String,
    /// The most questions of a process that wait for the back end's answers; beyond that clients are refused [default: 1000]
    #[arg(value_name = "N")]
    backend_questions: usize,
    /// The secret that signs what comet sends to the back end, at least 32 bytes; better in a file
    #[arg(value_name = "SECRET", env = "COMET_BACKEND_SECRET", hide_env_values = true)]
    backend_secret: String,
    /// The file with this secret
    #[arg(value_name = "FILE", conflicts_with = "backend_secret")]
    backend_secret_file: PathBuf,
    /// How long the back end may take to answer [default: 3s]
    #[arg(value_name = "TIME")]
    backend_timeout: Span,
    /// Origins whose pages may connect, or "any" [default: the server's own host]
    #[arg(value_name = "ORIGIN", value_delimiter = ',')]
    origins: Vec<String>,
    /// Opens channels that begin with "demo:" to everyone, and enables the page's buttons: not for the open internet
    #[arg(num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    demo: bool,
    /// Compresses messages for clients that support it: less traffic, more work and memory
    #[arg(num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    compression: bool,
    /// The time that connections have to end after a signal [default: 10s]
    #[arg(value_name = "TIME")]
    drain: Span,
    /// The time before that in which comet is not ready, but still accepts connections; a second signal ends it [default: 0s]
    #[arg(value_name = "TIME")]
    drain_delay: Span,
    /// How lines of the log are written [default: text]
    #[arg(value_name = "FORMAT")]
    log_format: Format,
    /// The least important lines that are logged [default: info]
    #[arg(value_name = "LEVEL")]
    log_level: Level,
    /// A path where a successor takes over the sockets, so that a restart refuses no connection
    #[arg(value_name = "PATH")]
    handover: PathBuf,
    /// The most connections of a thread [default: 1000000]
    #[arg(value_name = "N")]
    max_connections: usize,
    /// The most connections of a thread from one address, or of a process from one client if it has proxies [default: unlimited]
    #[arg(value_name = "N")]
    max_per_address: usize,
    /// The most channels [default: 100000]
    #[arg(value_name = "N")]
    max_channels: usize,
    /// The most subscriptions of a client [default: 128]
    #[arg(value_name = "N")]
    max_subscriptions: usize,
    /// The most bytes of a client's message, or of a request's body [default: 65536]
    #[arg(value_name = "BYTES")]
    max_message: usize,
    /// The average number of requests per second of a client [default: 50]
    #[arg(value_name = "N")]
    max_requests: u32,
    /// Bytes of waiting output above which a client counts as slow [default: 65536]
    #[arg(value_name = "BYTES")]
    high_water: usize,
}

/// The rule of channels in the file.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChannelOptions {
    pub(crate) name: Pattern,
    pub(crate) subscribe: Option<Access>,
    pub(crate) publish: Option<Access>,
    /// The number of publications kept.
    pub(crate) history: Option<usize>,
    /// The bytes of publications kept.
    pub(crate) history_bytes: Option<usize>,
    /// The age up to which publications are kept.
    pub(crate) history_time: Option<Span>,
    pub(crate) presence: Option<bool>,
    pub(crate) join_leave: Option<bool>,
    /// Whether new subscribers first get the newest publication.
    pub(crate) latest: Option<bool>,
    /// Whether the webhook is told of what happens in the channel.
    pub(crate) webhook: Option<bool>,
    /// Whether clients of Centrifugo's protocol may ask for what has changed alone.
    pub(crate) delta: Option<bool>,
    pub(crate) slow: Option<Slow>,
}

/// A driver's name, as a flag and in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DriverName(pub(crate) Driver);

impl FromStr for DriverName {
    type Err = drivers::UnknownDriver;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        name.parse().map(DriverName)
    }
}

impl<'de> Deserialize<'de> for DriverName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        name.parse().map_err(serde::de::Error::custom)
    }
}

impl Serialize for DriverName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl Options {
    /// The options in force where no other is given.
    pub(crate) fn defaults() -> Self {
        Options {
            listen: Some(vec!["127.0.0.1:8080".to_owned()]),
            driver: Some(DriverName(Driver::default())),
            threads: Some(1),
            broker: Some("memory".to_owned()),
            token_leeway: Some(Span(Duration::ZERO)),
            backend_questions: Some(1000),
            backend_timeout: Some(Span(BACKEND_PATIENCE)),
            demo: Some(false),
            compression: Some(false),
            drain: Some(Span(Duration::from_secs(10))),
            drain_delay: Some(Span(Duration::ZERO)),
            log_format: Some(Format::default()),
            log_level: Some(Level::default()),
            max_connections: Some(1_000_000),
            max_channels: Some(100_000),
            max_subscriptions: Some(128),
            max_message: Some(64 * 1024),
            max_requests: Some(50),
            high_water: Some(64 * 1024),
            ..Options::default()
        }
    }

    /// Reads a file of options.
    ///
    /// # Errors
    ///
    /// What is wrong with the file, and where.
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        toml::from_str(&text).map_err(|error| format!("{}: {}", path.display(), error.to_string().trim_end()))
    }
}
