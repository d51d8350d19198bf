//! Settings that are read again while comet serves: at SIGHUP, after all of them were checked.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use signal_hook::consts::SIGHUP;
use signal_hook::iterator::Signals;

use crate::app::App;
use crate::settings::{Options, Settings, Span};
use crate::tls::Certificates;

/// The options that change without a restart. Channels' rules do so too.
const CHANGEABLE: &[&str] = &[
    "tls_cert",
    "tls_key",
    "tls_client_ca",
    "secret",
    "secret_file",
    "token_audience",
    "token_keys",
    "token_issuer",
    "token_leeway",
    "token_cookie",
    "api_token",
    "api_token_file",
    "origins",
    "drain",
    "drain_delay",
    "max_subscriptions",
    "max_requests",
    "channel",
];
/// These change only if there was TLS before, and still is.
const TLS: &[&str] = &["tls_cert", "tls_key", "tls_client_ca"];

/// Where the settings come from.
#[derive(Debug, Clone, Default)]
pub(crate) struct Source {
    /// Flags and variables of the environment.
    pub(crate) given: Options,
    /// The file.
    pub(crate) config: Option<PathBuf>,
}

impl Source {
    /// Reads the options, of which flags take precedence.
    ///
    /// # Errors
    ///
    /// What is wrong with the file.
    pub(crate) fn read(&self) -> Result<Options, Vec<String>> {
        let given = self.given.clone();
        match &self.config {
            None => Ok(given),
            Some(path) => Ok(given.or(Options::read(path).map_err(|problem| vec![problem])?)),
        }
    }
}

/// SIGHUP, caught: it no longer ends the process.
#[derive(Debug)]
pub(crate) struct Hangup(Signals);

impl Hangup {
    /// # Errors
    ///
    /// If the system does not allow it.
    pub(crate) fn catch() -> io::Result<Self> {
        Signals::new([SIGHUP]).map(Hangup)
    }

    /// Calls `reload` at each signal from now on, and for one that has come before.
    ///
    /// # Errors
    ///
    /// If no thread can be started.
    pub(crate) fn then(self, reload: impl Fn() + Send + 'static) -> io::Result<()> {
        let Hangup(mut signals) = self;
        let wait = move || {
            for _ in signals.forever() {
                reload();
            }
        };
        thread::Builder::new().name("reload".into()).spawn(wait).map(drop)
    }
}

/// The options in force, and where to read others.
#[derive(Debug)]
pub(crate) struct Reload {
    source: Source,
    running: Mutex<Options>,
}

/// Other settings, all of which were checked.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) options: Options,
    pub(crate) settings: Settings,
    /// The names of the options that have changed.
    changed: Vec<String>,
    /// The names of the options that would change at a restart.
    waiting: Vec<String>,
}

impl Change {
    /// Logs what has changed, and what has not.
    pub(crate) fn tell(&self) {
        let changed = match self.changed.as_slice() {
            [] => "no option has changed; files of secrets, keys and certificates may have".to_owned(),
            changed => changed.join(", "),
        };
        tracing::info!("the settings were read again: {changed}");
        for name in &self.waiting {
            tracing::warn!("{name} has changed in the settings, and takes effect only when comet is started again");
        }
    }
}

impl Reload {
    /// `running` are the options in force.
    pub(crate) fn new(source: Source, running: Options) -> Self {
        Reload {
            source,
            running: Mutex::new(running),
        }
    }

    /// Reads and checks the options again, and keeps those in force that cannot change.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with them.
    pub(crate) fn read(&self) -> Result<Change, Vec<String>> {
        let options = self.source.read()?;
        // The whole has to be right, as for a restart.
        Settings::new(options.clone())?;
        change(&self.options(), &options)
    }

    /// The options in force.
    pub(crate) fn options(&self) -> Options {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The time before the drain, and the drain time.
    pub(crate) fn drain(&self) -> (Duration, Duration) {
        let options = self.options().or(Options::defaults());
        let time = |span: Option<Span>| span.map_or(Duration::ZERO, |span| span.0);
        (time(options.drain_delay), time(options.drain))
    }

    /// These options are in force.
    pub(crate) fn is_now(&self, options: Options) {
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = options;
    }

    /// Reads the options again, and lets `apply` put them in force. If anything is wrong, nothing changes.
    pub(crate) fn run(&self, apply: impl FnOnce(&Change) -> Result<(), Vec<String>>) {
        let outcome = self.read().and_then(|change| {
            apply(&change)?;
            Ok(change)
        });
        match outcome {
            Ok(change) => {
                change.tell();
                self.is_now(change.options);
            }
            Err(problems) => refused(&problems),
        }
    }
}

/// Logs that settings were not put in force.
pub(crate) fn refused(problems: &[String]) {
    for problem in problems {
        tracing::error!("{problem}");
    }
    tracing::error!("the settings were read again and are wrong: nothing has changed");
}

/// What changes if `options` follow the options in force.
fn change(running: &Options, options: &Options) -> Result<Change, Vec<String>> {
    let said = |error: &dyn std::fmt::Display| vec![error.to_string()];
    let table = |options: &Options| {
        let all = options.clone().or(Options::defaults());
        toml::Table::try_from(&all).map_err(|error| said(&error))
    };
    let (before, mut after) = (table(running)?, table(options)?);
    let has_tls = |table: &toml::Table| table.contains_key("tls_cert");
    let is_fixed = |name: &str| {
        !CHANGEABLE.contains(&name) || TLS.contains(&name) && !(has_tls(&before) && options.tls_cert.is_some())
    };
    let (mut changed, mut waiting) = (Vec::new(), Vec::new());
    let mut names: Vec<&str> = before.keys().map(String::as_str).collect();
    let new: Vec<String> = after
        .keys()
        .filter(|name| !before.contains_key(*name))
        .cloned()
        .collect();
    names.extend(new.iter().map(String::as_str));
    for name in names {
        if before.get(name) == after.get(name) {
            continue;
        }
        if !is_fixed(name) {
            changed.push(name.to_owned());
            continue;
        }
        waiting.push(name.to_owned());
        match before.get(name) {
            Some(value) => drop(after.insert(name.to_owned(), value.clone())),
            None => drop(after.remove(name)),
        }
    }
    let options: Options = after.try_into().map_err(|error| said(&error))?;
    Ok(Change {
        settings: Settings::new(options.clone())?,
        options,
        changed,
        waiting,
    })
}

/// What settings are put in force in: a process that serves.
#[derive(Clone)]
pub(crate) struct Live {
    pub(crate) app: Arc<App>,
    pub(crate) certificates: Option<Arc<Certificates>>,
}

impl Live {
    /// Puts settings in force. The only part that may fail comes first.
    ///
    /// # Errors
    ///
    /// The certificate that cannot be used. Nothing has changed then.
    pub(crate) fn apply(&self, settings: &Settings) -> Result<(), Vec<String>> {
        if let Some((certificates, tls)) = self.certificates.as_ref().zip(settings.tls.as_ref()) {
            let replaced = certificates.replace(&tls.files);
            replaced.map_err(|error| vec![format!("tls_cert: {error}")])?;
        }
        self.app.change(settings.clone());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(text: &str) -> Options {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn what_needs_a_restart_is_named_and_stays() {
        let running = options("threads = 2\nmax_requests = 5\norigins = [\"https://a.example\"]");
        let next = options("threads = 3\nmax_requests = 6\nbroker = \"redis://localhost\"\n[[channel]]\nname = \"a\"");
        let change = change(&running, &next).unwrap();
        assert_eq!(change.waiting, ["broker", "threads"]);
        assert_eq!(change.changed, ["max_requests", "origins", "channel"]);
        assert_eq!((change.settings.threads, change.settings.limits.requests), (2, 6));
        assert_eq!(change.settings.broker, crate::settings::BrokerUrl::Memory);
    }

    #[test]
    fn a_default_that_is_written_down_is_no_change() {
        let defaults = "threads = 1\ndrain = \"10s\"\nlisten = [\"127.0.0.1:8080\"]";
        let change = change(&options(""), &options(defaults)).unwrap();
        assert_eq!((change.changed.len(), change.waiting.len()), (0, 0), "{change:?}");
    }

    /// TLS does not begin or end without a restart, but its files may be others.
    #[test]
    fn tls_stays_on_or_off() {
        let tls = |name: &str| options(&format!("tls_cert = [\"{name}.pem\"]\ntls_key = [\"{name}.key\"]"));
        let on = change(&options(""), &tls("a")).unwrap();
        assert!(
            on.waiting == ["tls_cert", "tls_key"] && on.settings.tls.is_none(),
            "{on:?}"
        );
        let off = change(&tls("a"), &options("")).unwrap();
        assert!(
            off.waiting == ["tls_cert", "tls_key"] && off.settings.tls.is_some(),
            "{off:?}"
        );
        let other = change(&tls("a"), &tls("b")).unwrap();
        assert_eq!(other.changed, ["tls_cert", "tls_key"]);
        assert_eq!(other.settings.tls.unwrap().files.pairs[0].0, PathBuf::from("b.pem"));
    }

    #[test]
    fn every_name_is_an_option() {
        for name in CHANGEABLE.iter().filter(|name| **name != "channel") {
            assert!(Options::NAMES.contains(name), "{name}");
        }
    }
}
