//! The listener for administration: metrics, health and the API, apart from clients.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use drivers::{Listening, Server};
use protocol::Peer;

use crate::place::{self, Opened};
use crate::serve::Serving;
use crate::settings::Settings;
use crate::web::{Site, ToConnection};

/// The server of administration: one thread, without TLS and proxies, because it is for the own network.
fn server(settings: &Settings) -> Server {
    let share = settings.handover.is_some();
    Server::on(settings.driver).threads(1).configure(|config| {
        // A successor listens while its predecessor drains.
        config.socket.share_port = share;
    })
}

/// Listens, if a place is configured.
pub(crate) fn listen(settings: &Settings) -> io::Result<Option<Opened>> {
    let place = settings.admin_listen.as_ref();
    place
        .map(|place| place::open(&server(settings), settings, place))
        .transpose()
}

/// A duplicate of the socket for a worker process.
pub(crate) fn copy(place: &Listening) -> io::Result<OwnedFd> {
    let socket = place
        .as_fds()
        .next()
        .ok_or_else(|| io::Error::other("a listener without a socket"))?;
    socket.try_clone_to_owned()
}

/// Serves until the process ends.
pub(crate) fn serve(settings: &Settings, site: &Arc<Site>, place: Listening) -> io::Result<Box<dyn Serving>> {
    let site = site.administration();
    let factory = move |peer: &Peer<'_, ToConnection>| Some(site.connection(peer));
    Ok(Box::new(server(settings).serve_all(vec![place], factory)?))
}
