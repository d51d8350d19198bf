//! What a server receives from its predecessor, and passes to its successor.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use drivers::Listening;
use listenfd::ListenFd;
use processes::{Offer, Taken, offer_sockets_with, take_over};
use proto_tls::TicketKeys;

use crate::settings::Settings;
use crate::tls;

/// What a successor receives in addition to the listening sockets.
#[derive(Default)]
pub(crate) struct Gift {
    /// The ticket keys with which clients resume their sessions.
    pub(crate) keys: Option<TicketKeys>,
    /// The sockets on which plain HTTP is redirected.
    pub(crate) redirecting: Vec<OwnedFd>,
}

impl Gift {
    /// The descriptors to pass; the ticket keys first. Empty without TLS.
    fn descriptors(&self) -> io::Result<Vec<OwnedFd>> {
        let Some(keys) = &self.keys else {
            return Ok(Vec::new());
        };
        let mut all = vec![tls::give(keys)?];
        all.extend(copies(self.redirecting.iter().map(AsFd::as_fd))?);
        Ok(all)
    }
}

/// Sockets that already listen.
#[derive(Default)]
pub(crate) struct Given {
    pub(crate) places: Vec<Listening>,
    /// The descriptor from which to read the ticket keys, if the predecessor uses TLS.
    pub(crate) keys: Option<OwnedFd>,
    /// The sockets on which plain HTTP is redirected.
    pub(crate) redirecting: Vec<Listening>,
    /// The connection to the predecessor, which waits until this process is ready.
    taken: Option<Taken>,
}

impl Given {
    /// The sockets of a predecessor, or of a service manager.
    pub(crate) fn here(settings: &Settings) -> io::Result<Self> {
        if let Some(path) = &settings.handover
            && let Some(mut taken) = take_over(path)?
        {
            let places = Listening::group(core::mem::take(&mut taken.sockets));
            let mut inherited = core::mem::take(&mut taken.inherited).into_iter();
            return Ok(Given {
                places,
                keys: inherited.next(),
                redirecting: Listening::group(inherited.collect::<Vec<_>>()),
                taken: Some(taken),
            });
        }
        let mut activated = ListenFd::from_env();
        let mut places = Vec::new();
        for index in 0..activated.len() {
            // A socket of another kind is reported.
            if let Ok(Some(listener)) = activated.take_tcp_listener(index) {
                places.push(OwnedFd::from(listener).into());
            } else if let Some(listener) = activated.take_unix_listener(index)? {
                places.push(OwnedFd::from(listener).into());
            }
        }
        Ok(Given {
            places,
            ..Given::default()
        })
    }

    /// Whether the sockets are those of a predecessor.
    pub(crate) fn is_successor(&self) -> bool {
        self.taken.is_some()
    }

    /// Tells the predecessor that its sockets are served, and only then offers them to a successor at `path`, with `gift`. A process that
    /// is killed before has changed nothing: the predecessor continues, and `path` still leads to it.
    pub(crate) fn hand_on(
        self,
        path: Option<&Path>,
        sockets: &[impl AsFd],
        gift: Gift,
        stop: impl FnOnce() + Send + 'static,
    ) -> io::Result<Option<Offer>> {
        self.taken.map_or(Ok(()), Taken::ready)?;
        let Some(path) = path else {
            return Ok(None);
        };
        let offer = offer_sockets_with(
            path,
            sockets,
            move || gift.descriptors(),
            move || {
                tracing::info!("a successor has taken over; draining");
                stop();
            },
        );
        offer.map(Some)
    }
}

/// Duplicates `sockets`.
pub(crate) fn copies<'a>(sockets: impl Iterator<Item = std::os::fd::BorrowedFd<'a>>) -> io::Result<Vec<OwnedFd>> {
    sockets.map(|socket| socket.try_clone_to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::net::TcpListener;
    use std::os::unix::fs::MetadataExt;
    use std::time::{Duration, Instant};

    use super::*;

    /// A predecessor waits 10 s until a successor is ready. A successor that is slower, or is killed, cannot report that it serves, and
    /// must leave the path to the predecessor, or to another successor.
    #[test]
    fn one_who_cannot_tell_the_predecessor_leaves_the_path() {
        let path = std::env::temp_dir().join(format!("comet-hand-on-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let (tell, told) = std::sync::mpsc::channel();
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        Given::default()
            .hand_on(Some(&path), &[&socket], Gift::default(), move || tell.send(()).unwrap())
            .unwrap();
        let before = std::fs::metadata(&path).unwrap().ino();
        let late = take_over(&path).unwrap().unwrap();
        // Another successor can take over once the predecessor no longer waits.
        let next = loop {
            match take_over(&path) {
                Ok(taken) => break taken.unwrap(),
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
        };
        let late = Given {
            taken: Some(late),
            ..Given::default()
        };
        late.hand_on(Some(&path), &[&socket], Gift::default(), || {})
            .unwrap_err();
        assert_eq!(
            std::fs::metadata(&path).unwrap().ino(),
            before,
            "the path leads to another socket"
        );
        next.ready().unwrap();
        told.recv_timeout(Duration::from_secs(10)).unwrap();
        // The next start must soon find no offer.
        let until = Instant::now() + Duration::from_secs(10);
        while !matches!(take_over(&path), Ok(None)) {
            assert!(Instant::now() < until, "the next start still finds an offer");
        }
        std::fs::remove_file(&path).unwrap();
    }
}
