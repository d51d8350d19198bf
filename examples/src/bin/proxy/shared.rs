//! The state that all connections share.

use std::net::ToSocketAddrs;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::{io, thread};

use drivers::Handle;
use proto_http::{ClientConfig, ServerConfig};
use protocol::Sender;

use crate::Proxy;
use crate::head::Routes;
use crate::link::{Failure, Message, What};

pub(crate) struct Shared {
    pub(crate) routes: Routes,
    pub(crate) resolver: Resolver,
    pub(crate) server: Arc<ServerConfig>,
    pub(crate) client: Arc<ClientConfig>,
    /// Opens connections; set once the proxy serves.
    pub(crate) handle: OnceLock<Handle<Proxy>>,
    /// The proxy's name for Via.
    pub(crate) name: OnceLock<String>,
}

/// Looks up names on separate threads, because the system's resolver blocks.
pub(crate) struct Resolver {
    queue: SyncSender<Lookup>,
}

struct Lookup {
    name: String,
    port: u16,
    who: Sender<Message>,
    exchange: u64,
}

impl Resolver {
    /// # Errors
    ///
    /// If no thread can be started.
    pub(crate) fn new() -> io::Result<Self> {
        let (queue, lookups) = sync_channel(1000);
        let lookups = Arc::new(Mutex::new(lookups));
        for _ in 0..8 {
            let lookups = Arc::clone(&lookups);
            thread::Builder::new()
                .name("resolver".into())
                .spawn(move || resolve(&lookups))?;
        }
        Ok(Resolver { queue })
    }

    /// Looks up a name, and sends its address to the connection `who`.
    pub(crate) fn look_up(&self, name: String, port: u16, who: Sender<Message>, exchange: u64) -> Result<(), Failure> {
        let lookup = Lookup {
            name,
            port,
            who,
            exchange,
        };
        self.queue
            .try_send(lookup)
            .map_err(|_| Failure(503, "too many names are being looked up".into()))
    }
}

fn resolve(lookups: &Mutex<Receiver<Lookup>>) {
    loop {
        let next = lookups.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Lookup {
            name,
            port,
            who,
            exchange,
        }) = next
        else {
            return;
        };
        let addresses = (name.as_str(), port).to_socket_addrs();
        let first = addresses.and_then(|mut all| all.next().ok_or_else(|| io::ErrorKind::NotFound.into()));
        // The connection may have ended.
        let _ = who.send(Message {
            exchange,
            what: What::Resolved(first),
        });
    }
}
