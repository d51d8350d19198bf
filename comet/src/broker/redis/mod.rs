//! Redis or Valkey as the broker of many nodes.

mod dialect;
mod scripts;
mod tls;
mod wire;

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::{Arc, OnceLock, Weak};
use std::thread;
use std::time::Duration;

use drivers::{Driver, Server};
use proto_resp::{Client, ClientConfig};
use proto_tls::Connector;
use protocol::Peer;
use url::Url;

use super::Inbox;
use super::dialect::{Refusal, Role};
use super::speaker::{Speaker, Wake};
use super::upstream::Upstream;

use dialect::Redis;
#[cfg(test)]
pub(crate) use dialect::Redis as RedisDialect;
use tls::{Noted, RedisTls};

/// How long the other side may be silent before it is probed; and how long it may then, or after a command, be silent before the connection
/// is given up.
const SILENCE: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(8);
/// The most addresses of a name that are tried, and the time for each.
const ADDRESSES: usize = 8;
const CONNECT: Duration = Duration::from_secs(3);
/// Bytes that may wait to be sent, in addition to one publication.
const OUTPUT: usize = 64 << 20;

/// The address of Redis, and the part of it that comet uses.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct RedisUrl {
    host: String,
    port: u16,
    username: Option<String>,
    password: Option<String>,
    database: u32,
    prefix: String,
    tls: Option<RedisTls>,
}

impl RedisUrl {
    /// Parses `redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE][?prefix=PREFIX]`, or the same with `rediss://` for TLS. There, `ca`, `cert`
    /// and `key` name files: with trusted authorities, and with comet's certificate and key. Checks that the files are usable.
    ///
    /// # Errors
    ///
    /// What is wrong with the URL, without the password.
    pub(crate) fn read(url: &str) -> Result<Self, String> {
        let url = Url::parse(url).map_err(|error| format!("not a URL: {error}"))?;
        match url.scheme() {
            "redis+sentinel" | "redis-sentinel" => {
                return Err("comet does not ask Redis Sentinel: give the Redis itself".into());
            }
            "redis-cluster" | "redis+cluster" => return Err("Redis Cluster is not supported".into()),
            "unix" | "redis+unix" | "redis+socket" => {
                return Err("Unix sockets are not supported: use redis://HOST:PORT".into());
            }
            _ => {}
        }
        let mut tls = match url.scheme() {
            "redis" | "valkey" => None,
            "rediss" | "valkeys" => Some(RedisTls::default()),
            scheme => {
                return Err(format!(
                    "{scheme:?} is not the scheme of Redis, which is redis:// or rediss://"
                ));
            }
        };
        let host = url
            .host_str()
            .filter(|host| !host.is_empty())
            .ok_or("a host is missing")?;
        let decode = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8().map(Into::into);
        let decode = |text: &str| decode(text).map_err(|_| "user or password is not UTF-8".to_owned());
        let mut prefix = "comet:".to_owned();
        for (name, value) in url.query_pairs() {
            match (&*name, &mut tls) {
                ("prefix", _) => prefix = value.into_owned(),
                ("ca", Some(tls)) => tls.authorities = Some(value.into_owned().into()),
                ("cert", Some(tls)) => tls.certificate = Some(value.into_owned().into()),
                ("key", Some(tls)) => tls.key = Some(value.into_owned().into()),
                ("ca" | "cert" | "key", None) => return Err(format!("{name:?} is for TLS, which is rediss://")),
                _ => return Err(format!("{name:?} is no parameter; there are prefix, ca, cert and key")),
            }
        }
        if let Some(tls) = &tls {
            tls.connector()?;
        }
        let database = match url.path().trim_start_matches('/') {
            "" => 0,
            number => number
                .parse()
                .map_err(|_| format!("{number:?} is not the number of a database"))?,
        };
        Ok(RedisUrl {
            // An IPv6 address has brackets.
            host: host.trim_start_matches('[').trim_end_matches(']').to_owned(),
            port: url.port().unwrap_or(6379),
            username: Some(url.username())
                .filter(|name| !name.is_empty())
                .map(decode)
                .transpose()?,
            password: url.password().map(decode).transpose()?,
            database,
            prefix,
            tls,
        })
    }

    /// Makes a broker for this URL. Publications have at most `message` bytes. `node` identifies this process, and no other ever.
    pub(crate) fn broker(self, driver: Driver, inbox: Weak<dyn Inbox>, node: &str, message: usize) -> Arc<Upstream> {
        let look_up = |host: &str, port| Ok((host, port).to_socket_addrs()?.collect());
        self.broker_by(look_up, driver, inbox, node, message)
    }

    /// Makes a broker that finds addresses with `look_up`, which may block.
    fn broker_by(
        self,
        look_up: impl LookUp,
        driver: Driver,
        inbox: Weak<dyn Inbox>,
        node: &str,
        message: usize,
    ) -> Arc<Upstream> {
        let dialect = Redis::new(self.prefix.clone(), self.database, node.to_owned());
        let (url, look_up) = (Arc::new(self), Arc::new(look_up));
        // Made once, so that TLS sessions are resumed.
        let connector: Arc<OnceLock<Connector>> = Arc::default();
        let connect = move |upstream: Arc<Upstream>, role, generation| {
            let (url, look_up, told) = (Arc::clone(&url), Arc::clone(&look_up), Arc::clone(&upstream));
            let connector = Arc::clone(&connector);
            // On a separate thread, because looking up a name and connecting may take long.
            let connect = move || {
                let connector = url.connector(&connector);
                let addresses = look_up(&url.host, url.port);
                let connected = connector.and_then(|connector| {
                    let connection = Wanted {
                        driver,
                        upstream: &upstream,
                        role,
                        generation,
                        message,
                        connector,
                    };
                    url.connect(addresses?, &connection)
                });
                if let Err(error) = connected {
                    upstream.is_down(role, generation, Refusal::Now(error.to_string()));
                }
            };
            if let Err(error) = thread::Builder::new().name("connect".into()).spawn(connect) {
                told.is_down(role, generation, Refusal::Now(error.to_string()));
            }
        };
        Upstream::new(dialect, inbox, Box::new(connect))
    }

    /// The TLS connector, if TLS is configured.
    fn connector<'a>(&self, made: &'a OnceLock<Connector>) -> io::Result<Option<&'a Connector>> {
        match &self.tls {
            None => Ok(None),
            Some(tls) if made.get().is_none() => {
                let connector = tls.connector().map_err(io::Error::other)?;
                Ok(Some(made.get_or_init(|| connector)))
            }
            Some(_) => Ok(made.get()),
        }
    }

    fn connect(&self, addresses: Vec<SocketAddr>, wanted: &Wanted<'_>) -> io::Result<()> {
        let (upstream, role, generation, message) = (wanted.upstream, wanted.role, wanted.generation, wanted.message);
        let stream = reach(addresses.into_iter())?;
        stream.set_nodelay(true)?;
        let mut config = client_config(message);
        config.hello.username.clone_from(&self.username);
        config.hello.password.clone_from(&self.password);
        config.hello.name = Some("comet".to_owned());
        config.hello.database = Some(self.database).filter(|database| *database > 0);
        let (tell, told) = std::sync::mpsc::channel();
        let why: Arc<OnceLock<String>> = Arc::default();
        let speaker = Speaker::over(Arc::clone(upstream), role, generation, Arc::clone(&why));
        let client = Client::new(Arc::new(config), speaker);
        let server = Server::on(wanted.driver).configure(|config| {
            config.limits = config
                .limits
                .max_output(OUTPUT + 2 * message)
                .write_timeout(Some(PATIENCE));
        });
        // The receiver waits for the sender.
        match wanted.connector {
            None => drop(server.adopt(stream, move |peer: &Peer<'_, Wake>| {
                let _ = tell.send(peer.sender());
                client
            })?),
            Some(connector) => {
                let client = connector.connect(&self.host, client).map_err(io::Error::other)?;
                drop(server.adopt(stream, move |peer: &Peer<'_, Wake>| {
                    let _ = tell.send(peer.sender());
                    Noted::new(client, why)
                })?);
            }
        }
        let sender = told.recv().map_err(io::Error::other)?;
        upstream.linked(role, generation, Box::new(sender));
        Ok(())
    }
}

/// The settings of a connection, where publications have at most `message` bytes.
pub(crate) fn client_config(message: usize) -> ClientConfig {
    let mut config = ClientConfig::default();
    config.rules.limits.bulk = config.rules.limits.bulk.max(2 * message as u64);
    config.rules.limits.reply = config.rules.limits.reply.max(4 * message as u64);
    config.timeouts.handshake = Some(PATIENCE);
    config.timeouts.reply = Some(PATIENCE);
    config.timeouts.ping = Some(SILENCE);
    config.timeouts.pong = Some(PATIENCE);
    config
}

/// A connection to make.
struct Wanted<'a> {
    driver: Driver,
    upstream: &'a Arc<Upstream>,
    role: Role,
    generation: u64,
    /// The most bytes of a publication.
    message: usize,
    /// The connector for TLS, if configured.
    connector: Option<&'a Connector>,
}

/// Looks up the addresses of a host, with a port.
trait LookUp: Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static {}

impl<F: Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static> LookUp for F {}

/// Connects to the first address that answers.
fn reach(addresses: impl Iterator<Item = SocketAddr>) -> io::Result<TcpStream> {
    let mut failed = io::Error::other("the name has no address");
    for address in addresses.take(ADDRESSES) {
        match TcpStream::connect_timeout(&address, CONNECT) {
            Ok(stream) => return Ok(stream),
            Err(error) => failed = io::Error::new(error.kind(), format!("{address}: {error}")),
        }
    }
    Err(failed)
}

impl fmt::Display for RedisUrl {
    /// Leaves out the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls.is_some() { "rediss" } else { "redis" };
        write!(f, "{scheme}://{}:{}/{}", self.host, self.port, self.database)
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, mpsc};
    use std::time::Instant;

    use super::*;
    use crate::broker::{Broker, Done, Snapshot, Trouble};
    use crate::channel::Name;
    use crate::log::Keep;
    use crate::publication::{Draft, Position, Publication};

    struct Nobody;

    impl Inbox for Nobody {
        fn snapshot(&self, _: &Name, _: Snapshot) {}
        fn publication(&self, _: &Arc<Publication>) {}
        fn position(&self, _: &Name) -> Option<Position> {
            None
        }
    }

    /// Redis is down, and the look-up of its name blocks: publications must fail at once, and time must go on.
    #[test]
    fn a_slow_look_up_delays_nobody() {
        let (begins, begun) = mpsc::channel();
        let (go_on, gate) = mpsc::channel::<()>();
        let gate = Mutex::new(gate);
        let look_up = move |_: &str, _| {
            begins.send(()).unwrap();
            // Like a resolver without servers, which takes 10 s.
            let _ = gate.lock().unwrap().recv_timeout(Duration::from_secs(10));
            Err(io::ErrorKind::TimedOut.into())
        };
        let inbox: Arc<dyn Inbox> = Arc::new(Nobody);
        let url = RedisUrl::read("redis://nowhere.invalid").unwrap();
        let broker = url.broker_by(look_up, Driver::Epoll, Arc::downgrade(&inbox), "n", 1 << 16);
        let start = Instant::now();
        broker.tick(Instant::now());
        begun.recv_timeout(Duration::from_secs(10)).unwrap();
        let draft = Draft {
            channel: "news".parse().unwrap(),
            user: None,
            data: "1".to_owned().into(),
            key: None,
        };
        let keep = Keep {
            publications: 5,
            bytes: 1 << 20,
            time: Duration::from_secs(60),
        };
        let (tell, told) = mpsc::channel();
        broker.publish(draft, keep, Done::new(move |outcome| tell.send(outcome).unwrap()));
        let outcome = told.recv_timeout(Duration::from_secs(5)).unwrap();
        assert_eq!(outcome, Err(Trouble::Unavailable));
        broker.tick(Instant::now());
        // The look-up is still in progress.
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
        assert!(
            begun.try_recv().is_err(),
            "the name is looked up twice at the same time"
        );
        go_on.send(()).unwrap();
    }

    #[test]
    fn all_addresses_of_a_name_are_tried() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let there = listener.local_addr().unwrap();
        // Nobody listens at the first address: it was bound and released.
        let nowhere = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let stream = reach([nowhere, there].into_iter()).unwrap();
        assert_eq!(stream.peer_addr().unwrap(), there);
        assert!(reach([nowhere].into_iter()).is_err() && reach([].into_iter()).is_err());
    }

    #[test]
    fn urls_are_read_and_passwords_not_shown() {
        let url = RedisUrl::read("redis://ann:s%40crit@[::1]:7000/2?prefix=x:").unwrap();
        assert_eq!((url.host.as_str(), url.port, url.database), ("::1", 7000, 2));
        assert_eq!(
            (url.username.as_deref(), url.password.as_deref()),
            (Some("ann"), Some("s@crit"))
        );
        assert_eq!(url.prefix, "x:");
        assert!(!format!("{url:?} {url}").contains("crit"));
        let url = RedisUrl::read("redis://localhost").unwrap();
        assert_eq!(
            (url.port, url.database, url.password, &*url.prefix),
            (6379, 0, None, "comet:")
        );
        for bad in [
            "",
            "localhost",
            "http://x",
            "redis://",
            "redis://h/x",
            "redis://h?y=1",
            "redis://h:99999",
            "rediss://h?ca=/nowhere",
            "rediss://h?cert=/dev/null",
            "redis://h?ca=/dev/null",
            "redis+sentinel://h",
        ] {
            assert!(RedisUrl::read(bad).is_err(), "{bad}");
        }
    }
}
