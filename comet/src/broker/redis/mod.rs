//! Redis or Valkey as the broker of many nodes.

mod dialect;
mod runtime;

use std::fmt;
use std::io;
use std::net::ToSocketAddrs;
use std::sync::{Arc, Weak};

use drivers::{Driver, Server};
use proto_resp::{Client, ClientConfig};
use protocol::Peer;
use url::Url;

use self::dialect::Redis;
use super::Inbox;
use super::link::Speaker;
use super::order::Order;
use super::upstream::{Link, Upstream};

/// Where Redis is, and what is comet's in it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct RedisUrl {
    host: String,
    port: u16,
    username: Option<String>,
    password: Option<String>,
    database: u32,
    prefix: String,
}

impl RedisUrl {
    /// Reads `redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE][?prefix=PREFIX]`.
    ///
    /// # Errors
    ///
    /// What is wrong with it, without the password.
    pub(crate) fn read(url: &str) -> Result<Self, String> {
        let url = Url::parse(url).map_err(|error| format!("not a URL: {error}"))?;
        if url.scheme() != "redis" {
            return Err(format!(
                "{:?} is not the scheme of Redis, which is redis://",
                url.scheme()
            ));
        }
        let host = url
            .host_str()
            .filter(|host| !host.is_empty())
            .ok_or("a host is missing")?;
        let decode = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8().map(Into::into);
        let decode = |text: &str| decode(text).map_err(|_| "user or password is not UTF-8".to_owned());
        let mut prefix = "comet:".to_owned();
        for (name, value) in url.query_pairs() {
            match &*name {
                "prefix" => prefix = value.into_owned(),
                _ => return Err(format!("{name:?} is no parameter; there is prefix")),
            }
        }
        let database = match url.path().trim_start_matches('/') {
            "" => 0,
            number => number
                .parse()
                .map_err(|_| format!("{number:?} is not the number of a database"))?,
        };
        Ok(RedisUrl {
            // An address of IPv6 stands in brackets.
            host: host.trim_start_matches('[').trim_end_matches(']').to_owned(),
            port: url.port().unwrap_or(6379),
            username: Some(url.username())
                .filter(|name| !name.is_empty())
                .map(decode)
                .transpose()?,
            password: url.password().map(decode).transpose()?,
            database,
            prefix,
        })
    }

    /// A broker there. On epoll our own codec speaks to it, on tokio the `redis` crate.
    pub(crate) fn broker(self, driver: Driver, inbox: Weak<dyn Inbox>) -> Arc<Upstream> {
        let dialect = move |prefix: &str| Redis::new(Weak::clone(&inbox), prefix.to_owned());
        match driver {
            Driver::Tokio => Upstream::new(Box::new(move |upstream| {
                runtime::connect(&self, dialect(&self.prefix), upstream)
            })),
            driver => Upstream::new(Box::new(move |upstream| {
                self.connect(driver, dialect(&self.prefix), upstream)
            })),
        }
    }

    fn connect(&self, driver: Driver, dialect: Redis, upstream: Arc<Upstream>) -> io::Result<Box<dyn Link>> {
        let mut addresses = (self.host.as_str(), self.port).to_socket_addrs()?;
        let address = addresses
            .next()
            .ok_or_else(|| io::Error::other(format!("{} has no address", self.host)))?;
        let mut config = ClientConfig::default();
        config.hello.username.clone_from(&self.username);
        config.hello.password.clone_from(&self.password);
        config.hello.name = Some("comet".to_owned());
        config.hello.database = Some(self.database).filter(|database| *database > 0);
        let (tell, told) = std::sync::mpsc::channel();
        let make = move |peer: &Peer<'_, Order>| {
            // The other side waits for it.
            let _ = tell.send(peer.sender());
            Client::new(Arc::new(config), Speaker::new(dialect, upstream))
        };
        Server::new(driver).connect(address, make)?;
        let sender = told.recv().map_err(io::Error::other)?;
        Ok(Box::new(sender))
    }
}

impl fmt::Display for RedisUrl {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "redis://{}:{}/{}", self.host, self.port, self.database)
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        ] {
            assert!(RedisUrl::read(bad).is_err(), "{bad}");
        }
    }
}
