//! The command line.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use clap_complete::Shell;

use crate::bench::Bench;
use crate::broker::Info;
use crate::channel::Pattern;
use crate::doctor::Doctor;
use crate::health::Health;
use crate::inspect::Inspect;
use crate::logging;
use crate::reload::Source;
use crate::serve;
use crate::settings::{Options, Settings, Span};
use crate::token::{Audience, Claims, Date};

/// Holds very many WebSocket connections and pushes to them.
#[derive(Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
#[command(
    after_help = "Each setting is also a variable of the environment: COMET_MAX_MESSAGE for --max-message. Flags take precedence over \
                  variables, and variables over the file.\n\nSIGHUP makes comet read its settings again, and change those that can change. \
                  SIGINT and SIGTERM make it drain and end; a second signal ends the time of --drain-delay."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: Serve,
}

#[derive(Subcommand)]
enum Command {
    /// Checks the settings, and prints the result
    Check(Serve),
    Bench(Bench),
    Inspect(Inspect),
    Doctor(Doctor),
    /// Asks a running server whether it is well; the exit status is 0 if it is, and 1 if not
    #[command(name = "health")]
    IsWell {
        #[command(flatten)]
        health: Health,
        #[command(flatten)]
        serve: Serve,
    },
    /// Makes a token for a client
    Token(Token),
    /// Writes manual pages and shell completions to a directory
    Dist {
        /// The directory
        #[arg(value_name = "DIRECTORY")]
        directory: PathBuf,
    },
}

#[derive(Args)]
struct Serve {
    /// A file of settings; flags take precedence
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    options: Options,
}

#[derive(Args)]
struct Token {
    #[command(flatten)]
    serve: Serve,
    /// The user's name
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// The token's id, by which it can be revoked
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// What others are told of the user: JSON
    #[arg(long, value_name = "JSON", value_parser = info)]
    info: Option<Info>,
    /// A channel or pattern that the user may read; repeat for several
    #[arg(long, value_name = "CHANNEL", value_parser = pattern)]
    subscribe: Vec<Pattern>,
    /// A channel or pattern that the user may write to; repeat for several
    #[arg(long, value_name = "CHANNEL", value_parser = pattern)]
    publish: Vec<Pattern>,
    /// How long the token is valid
    #[arg(long, value_name = "TIME", default_value = "1h")]
    valid: Span,
}

impl Cli {
    /// Reads the command line and the environment: each flag that is a setting is also a variable, `COMET_LISTEN` for `--listen`.
    pub(crate) fn read() -> Self {
        let matches = with_environment(Cli::command()).get_matches();
        Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
    }

    pub(crate) fn run(self) -> ExitCode {
        let outcome = match self.command {
            None => serve::run(self.serve.source()),
            Some(Command::Check(serve)) => check(serve),
            Some(Command::Bench(bench)) => return judged(bench.run()),
            Some(Command::Inspect(inspect)) => return judged(inspect.run()),
            Some(Command::Doctor(doctor)) => return judged(doctor.run()),
            Some(Command::IsWell { health, serve }) => return healthy(health, serve),
            Some(Command::Token(token)) => make_token(token),
            Some(Command::Dist { directory }) => dist(&directory).map_err(|error| vec![error.to_string()]),
        };
        match outcome {
            Ok(()) => ExitCode::SUCCESS,
            Err(problems) => failed(&problems),
        }
    }
}

/// Gives each setting its variable of the environment, in this command and in those beneath.
fn with_environment(command: clap::Command) -> clap::Command {
    command
        .mut_args(|arg| {
            let name = arg.get_id().as_str();
            if arg.get_env().is_some() || name != "config" && !Options::NAMES.contains(&name) {
                return arg;
            }
            // Once for each setting, while the process starts.
            let variable: &'static str = format!("COMET_{}", name.to_uppercase()).leak();
            arg.env(variable).hide_env(true)
        })
        .mut_subcommands(with_environment)
}

/// The exit status of a tool that judges: 0 if all is well, 1 if not, 2 if it could not check.
fn judged(outcome: io::Result<bool>) -> ExitCode {
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        // The reader of the output has closed the pipe.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => failed(&[error.to_string()]),
    }
}

/// The exit status of a check of health: 1 whatever is wrong, as containers expect.
fn healthy(health: Health, serve: Serve) -> ExitCode {
    let options = match health.needs_settings() {
        true => serve.source().read(),
        false => Ok(Options::default()),
    };
    let outcome = options.and_then(|options| health.run(&options.or(Options::defaults())).map_err(|why| vec![why]));
    let Err(problems) = outcome else {
        return ExitCode::SUCCESS;
    };
    failed(&problems);
    ExitCode::FAILURE
}

fn failed(problems: &[String]) -> ExitCode {
    for problem in problems {
        eprintln!("comet: {problem}");
    }
    ExitCode::from(2)
}

impl Serve {
    fn source(self) -> Source {
        Source {
            given: self.options,
            config: self.config,
        }
    }

    /// The settings from flags, environment and file.
    fn options(self) -> Result<Options, Vec<String>> {
        let options = self.source().read()?;
        logging::begin(&options);
        Ok(options)
    }

    fn settings(self) -> Result<Settings, Vec<String>> {
        Settings::new(self.options()?)
    }
}

fn check(serve: Serve) -> Result<(), Vec<String>> {
    let options = serve.options()?;
    let settings = Settings::new(options.clone())?;
    let idle = settings.idle();
    if !idle.is_empty() {
        return Err(idle);
    }
    let text = toml::to_string_pretty(&in_force(options, &settings)).map_err(|error| vec![error.to_string()])?;
    print!("{text}");
    println!("# all is well");
    Ok(())
}

/// All options in force, with defaults, and without secrets.
fn in_force(options: Options, settings: &Settings) -> Options {
    let mut options = options.or(Options::defaults());
    let hide = |secret: Option<String>| secret.map(|_| "(given)".to_owned());
    options.secret = hide(options.secret);
    options.backend_secret = hide(options.backend_secret);
    options.api_token = hide(options.api_token);
    options.broker = options.broker.map(|broker| without_password(&broker));
    for url in [
        &mut options.webhook,
        &mut options.connect_proxy,
        &mut options.subscribe_proxy,
        &mut options.publish_proxy,
    ] {
        *url = url.take().map(|url| without_password(&url));
    }
    options.channels = settings.rules.options();
    options
}

/// A broker's URL, without its password.
fn without_password(url: &str) -> String {
    match url::Url::parse(url) {
        Ok(mut url) if url.password().is_some() => {
            // A URL with a password has a host, so this cannot fail.
            let _ = url.set_password(Some("given"));
            url.into()
        }
        _ => url.to_owned(),
    }
}

fn make_token(token: Token) -> Result<(), Vec<String>> {
    let settings = token.serve.settings()?;
    let Some(secret) = settings.authority.secret else {
        return Err(vec!["there is no secret to sign it with".to_owned()]);
    };
    let expires = (SystemTime::now() + token.valid.0).duration_since(UNIX_EPOCH);
    let claims = Claims {
        user: token.user.map(Into::into),
        expires: expires.ok().map(|end| Date(Duration::from_secs(end.as_secs()))),
        begins: None,
        issued: SystemTime::now().duration_since(UNIX_EPOCH).ok().map(Date),
        id: token.id.map(Into::into),
        audience: settings.demands.audience.map(Audience::One),
        issuer: settings.demands.issuer,
        info: token.info,
        channels: Vec::new(),
        subscribe: token.subscribe,
        publish: token.publish,
    };
    println!("{}", secret.sign(&claims));
    Ok(())
}

/// Writes a manual page for each command, and completions for all supported shells.
fn dist(directory: &Path) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    let mut command = with_environment(Cli::command());
    clap_mangen::generate_to(command.clone(), directory)?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut command, "comet", directory)?;
    }
    Ok(())
}

fn info(text: &str) -> Result<Info, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}

fn pattern(text: &str) -> Result<Pattern, String> {
    Pattern::try_from(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every setting has a variable, with the type of its flag.
    #[test]
    fn settings_come_from_the_environment_too() {
        with_environment(Cli::command()).debug_assert();
        let command = with_environment(Cli::command());
        for name in Options::NAMES {
            let named = |command: &clap::Command| {
                let arg = command.get_arguments().find(|arg| arg.get_id() == *name).unwrap();
                arg.get_env().unwrap().to_str().unwrap().to_owned()
            };
            let variable = format!("COMET_{}", name.to_uppercase());
            assert_eq!(named(&command), variable);
            assert_eq!(named(command.find_subcommand("check").unwrap()), variable);
        }
    }

    #[test]
    fn rules_that_never_apply_are_found() {
        let idle = |text: &str| crate::tests::settings(text).idle();
        let rule = |name: &str| format!("[[channel]]\nname = {name:?}\n");
        assert_eq!(
            idle(&[rule("news"), rule("room:*"), rule("*")].concat()),
            Vec::<String>::new()
        );
        let found = idle(&[rule("room:*"), rule("room:1"), rule("*"), rule("news")].concat());
        assert_eq!(found.len(), 2);
        assert!(
            found[0].contains("\"room:1\"") && found[0].contains("\"room:*\""),
            "{found:?}"
        );
        assert!(found[1].contains("\"news\"") && found[1].contains("\"*\""), "{found:?}");
    }

    #[test]
    fn all_settings_in_force_are_shown_without_secrets() {
        let text = "secret = \"0123456789abcdef0123456789abcdef\"\napi_token = \"let-me-in\"\nbroker = \"redis://:hush@host\"\n\
                    [[channel]]\nname = \"news\"\nhistory = 5";
        let options: Options = toml::from_str(text).unwrap();
        let settings = Settings::new(options.clone()).unwrap();
        let shown = toml::to_string(&in_force(options, &settings)).unwrap();
        for secret in ["0123", "let-me-in", "hush"] {
            assert!(!shown.contains(secret), "{shown}");
        }
        for line in [
            "listen = [\"127.0.0.1:8080\"]",
            "threads = 1",
            "drain = \"10s\"",
            "drain_delay = \"0s\"",
            "max_requests = 50",
            "name = \"news\"",
            "history = 5",
            "history_time = \"10m\"",
            "slow = \"catch-up\"",
        ] {
            assert!(shown.lines().any(|known| known == line), "{line} is not in\n{shown}");
        }
        assert!(!shown.contains('$'), "{shown}");
        // What is shown can be put into a file.
        let again: Options = toml::from_str(&shown.replace("(given)", "0123456789abcdef0123456789abcdef")).unwrap();
        Settings::new(again).unwrap();
        // Each default is one of those that the help names.
        let help = Cli::command().render_long_help().to_string();
        let defaults = toml::Table::try_from(Options::defaults()).unwrap();
        for name in defaults.keys() {
            let flag = format!("--{}", name.replace('_', "-"));
            assert!(help.contains(&flag), "{flag}");
        }
    }

    #[test]
    fn passwords_are_not_shown() {
        let shown = without_password("redis://ann:s3cret@host:7000/1");
        assert!(
            !shown.contains("s3cret") && shown.contains("ann") && shown.contains("host:7000/1"),
            "{shown}"
        );
        for plain in ["memory", "redis://host"] {
            assert_eq!(without_password(plain), plain);
        }
    }
}
