//! What a server has from its predecessor, and leaves to its successor.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use drivers::Listening;
use listenfd::ListenFd;
use processes::{Offer, Taken, offer_sockets_with, take_over};
use proto_tls::TicketKeys;

use crate::settings::Settings;
use crate::tls;

/// What a successor gets beside the sockets on which this server listens.
#[derive(Default)]
pub(crate) struct Gift {
    /// With these, clients resume their sessions with the successor.
    pub(crate) keys: Option<TicketKeys>,
    /// Where clients without TLS are redirected.
    pub(crate) redirecting: Vec<OwnedFd>,
}

impl Gift {
    /// The keys come first. Without TLS there is nothing.
    fn descriptors(&self) -> io::Result<Vec<OwnedFd>> {
        let Some(keys) = &self.keys else {
            return Ok(Vec::new());
        };
        let mut all = vec![tls::give(keys)?];
        all.extend(copies(self.redirecting.iter().map(AsFd::as_fd))?);
        Ok(all)
    }
}

/// Sockets that listen already.
#[derive(Default)]
pub(crate) struct Given {
    pub(crate) places: Vec<Listening>,
    /// From where to read the keys of tickets, where the predecessor speaks TLS.
    pub(crate) keys: Option<OwnedFd>,
    /// Where clients without TLS are redirected.
    pub(crate) redirecting: Vec<Listening>,
    /// Whose all this was, and who waits to hear that it is served.
    taken: Option<Taken>,
}

impl Given {
    /// Those of a predecessor, or those that a service manager has bound.
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
            // A socket of another kind is said to be one.
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

    /// Tells the predecessor that its sockets are served, and only then offers them to a successor, at `path`, with `gift`. A
    /// process that is killed before it has told has changed nothing: the predecessor goes on, and `path` still leads to it.
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
                eprintln!("comet: a successor has taken over; draining");
                stop();
            },
        );
        offer.map(Some)
    }
}

/// Copies of `sockets`.
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

    /// A predecessor waits 10 s for a successor to be ready. One that is later cannot tell that it serves, as one that is
    /// killed cannot, and must leave the path to the predecessor, or to who has come in between.
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
        // It is the next one's turn when the predecessor waits no longer.
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
            "the path leads elsewhere"
        );
        next.ready().unwrap();
        told.recv_timeout(Duration::from_secs(10)).unwrap();
        // The next start finds nobody, soon.
        let until = Instant::now() + Duration::from_secs(10);
        while !matches!(take_over(&path), Ok(None)) {
            assert!(Instant::now() < until, "the path trips the next start");
        }
        std::fs::remove_file(&path).unwrap();
    }
}
