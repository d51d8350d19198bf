//! What may be set: by flags and environment, and in a file under the same names.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use drivers::Driver;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::channel::Pattern;
use crate::rule::{Access, Slow};

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

/// Declares the settings once: as flags, as keys of the file, and how one overrules the other.
macro_rules! options {
    ($($(#[doc = $doc:literal])+ $(#[arg($($arg:tt)*)])? $name:ident: $type:ty,)*) => {
        /// The settings, none of which need be given.
        #[derive(Debug, Clone, Default, Args, Deserialize, Serialize)]
        #[serde(deny_unknown_fields, default)]
        pub(crate) struct Options {
            $(
                $(#[doc = $doc])+
                #[arg(long, $($($arg)*)?)]
                #[serde(skip_serializing_if = "Option::is_none")]
                pub(crate) $name: Option<$type>,
            )*
            /// How channels behave; only in the file.
            #[arg(skip)]
            #[serde(rename = "channel", skip_serializing_if = "Vec::is_empty")]
            pub(crate) channels: Vec<ChannelOptions>,
        }

        impl Options {
            /// These, and what they do not say from `other`.
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
    /// Where to listen, HOST:PORT; more than once for several addresses [default: 127.0.0.1:8080]
    #[arg(value_name = "ADDR")]
    listen: Vec<String>,
    /// The server's certificate in PEM, its issuers behind it: https and wss instead of http and ws. Several for several names
    #[arg(value_name = "FILE")]
    tls_cert: Vec<PathBuf>,
    /// The key of each certificate in PEM, in the same order. All are read again when they change, and after SIGHUP
    #[arg(value_name = "FILE")]
    tls_key: Vec<PathBuf>,
    /// Authorities in PEM: clients must show a certificate of one of them
    #[arg(value_name = "FILE")]
    tls_client_ca: PathBuf,
    /// Where plain HTTP is answered with a redirection to https, HOST:PORT
    #[arg(value_name = "ADDR")]
    tls_redirect: String,
    /// Which driver: epoll or tokio [default: the fastest here]
    #[arg(value_name = "DRIVER")]
    driver: DriverName,
    /// How many threads serve [default: 1]
    #[arg(value_name = "N")]
    threads: usize,
    /// Serves from so many processes: for more connections than one may have descriptors
    #[arg(value_name = "N")]
    prefork: usize,
    /// Where publications go: "memory", or redis://HOST:PORT [default: memory]
    #[arg(value_name = "URL")]
    broker: String,
    /// What signs tokens, 32 bytes at least; better in a file, which not everyone on the machine can read
    #[arg(value_name = "SECRET", env = "COMET_SECRET", hide_env_values = true)]
    secret: String,
    /// The file with the secret
    #[arg(value_name = "FILE", conflicts_with = "secret")]
    secret_file: PathBuf,
    /// For whom tokens must be (`aud`); without it, those that name somebody are refused
    #[arg(value_name = "NAME")]
    token_audience: String,
    /// Who must have made them (`iss`) [default: anyone with the secret]
    #[arg(value_name = "NAME")]
    token_issuer: String,
    /// By how much the clocks of those who make tokens may differ [default: 0s]
    #[arg(value_name = "TIME")]
    token_leeway: Span,
    /// What a back end shows to use the API; better in a file
    #[arg(value_name = "TOKEN", env = "COMET_API_TOKEN", hide_env_values = true)]
    api_token: String,
    /// The file with the API token
    #[arg(value_name = "FILE", conflicts_with = "api_token")]
    api_token_file: PathBuf,
    /// Origins whose pages may connect, or "any" [default: the host that is asked]
    #[arg(value_name = "ORIGIN")]
    origins: Vec<String>,
    /// Channels that begin with "demo:" for everyone, and the page's buttons: not for the open internet
    #[arg(num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    demo: bool,
    /// Compresses messages for clients that can read it: less traffic, more work and memory
    #[arg(num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    compression: bool,
    /// How long connections have to end after a signal [default: 10s]
    #[arg(value_name = "TIME")]
    drain: Span,
    /// A path where a successor takes over the sockets, so that a restart refuses nobody
    #[arg(value_name = "PATH")]
    handover: PathBuf,
    /// Connections a thread holds at most [default: 1000000]
    #[arg(value_name = "N")]
    max_connections: usize,
    /// Connections a thread takes from one address at most [default: any number]
    #[arg(value_name = "N")]
    max_per_address: usize,
    /// Channels there may be [default: 100000]
    #[arg(value_name = "N")]
    max_channels: usize,
    /// Channels one client may subscribe to [default: 128]
    #[arg(value_name = "N")]
    max_subscriptions: usize,
    /// Bytes of a message of a client, or of a request's body [default: 65536]
    #[arg(value_name = "BYTES")]
    max_message: usize,
    /// Requests a second of one client, on average [default: 50]
    #[arg(value_name = "N")]
    max_requests: u32,
    /// Bytes that may wait for a client that reads slowly, before it counts as slow [default: 65536]
    #[arg(value_name = "BYTES")]
    high_water: usize,
}

/// How channels of some names behave, as the file says it.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChannelOptions {
    pub(crate) name: Pattern,
    pub(crate) subscribe: Option<Access>,
    pub(crate) publish: Option<Access>,
    /// Publications kept.
    pub(crate) history: Option<usize>,
    /// Bytes kept.
    pub(crate) history_bytes: Option<usize>,
    /// How long they are kept.
    pub(crate) history_time: Option<Span>,
    pub(crate) presence: Option<bool>,
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
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// What is wrong with it, and where.
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        toml::from_str(&text).map_err(|error| format!("{}: {}", path.display(), error.to_string().trim_end()))
    }
}
