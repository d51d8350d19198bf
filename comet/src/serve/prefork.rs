//! Serves in several processes.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::parent_id;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use drivers::{Listening, Server};
use processes::{Prefork, Role, Signals};
use proto_resp::{Client, ClientConfig, ServerConfig};
use proto_tls::TicketKeys;
use protocol::Peer;
use rustix::fs::{MemfdFlags, memfd_create};

use super::{Files, LAST_EVENTS, Served, Stopper, announce, node, random, redirect, serve, server};
use crate::admin;
use crate::broker::{Hub, HubDialect, HubPost, HubSession, Inbox, Refusal, Speaker, Upstream, Wake};
use crate::handover::{Gift, Given};
use crate::logging;
use crate::reload::{Hangup, Live, Reload, refused};
use crate::settings::{BrokerUrl, Options, Settings};
use crate::tls::{self, Certificates};
use crate::watch::{self, Watch};

/// Bytes that may wait at the hub for a process: publications while the process is busy.
const HUB_OUTPUT: usize = 256 << 20;

/// Serves in several processes; this is their parent.
pub(super) fn run(settings: &Settings, workers: usize, reload: Arc<Reload>) -> io::Result<()> {
    let hangup = Hangup::catch()?;
    let (driver, channels) = (settings.driver, settings.limits.channels);
    let message = settings.limits.message;
    // Even shares: connections last long, and each worker holds part of the memory.
    let has_hub = settings.broker == BrokerUrl::Memory;
    let (hub, watch) = (Mutex::new(None), Arc::<Watch>::default());
    // A client may reconnect to another process. Set before the first process starts.
    let keys = Arc::new(OnceLock::<TicketKeys>::new());
    let for_workers = Arc::clone(&keys);
    let admin = Arc::new(OnceLock::<Listening>::new());
    let admin_for_workers = Arc::clone(&admin);
    let (in_force, passing) = (Arc::clone(&reload), Arc::clone(&watch));
    let prefork = Prefork::new(workers).queue_per_worker().inherit(move |worker| {
        let stream = watch.starts(worker)?;
        // Read after the process is known: it is told of what changes from then on.
        let mut given: Vec<OwnedFd> = vec![pass(&in_force.options())?, stream.into()];
        if let Some(keys) = for_workers.get() {
            given.push(tls::give(keys)?);
        }
        if let Some(place) = admin_for_workers.get() {
            given.push(admin::copy(place)?);
        }
        if has_hub {
            let mut hub = hub.lock().unwrap_or_else(PoisonError::into_inner);
            let hub = match &*hub {
                Some(hub) => Arc::clone(hub),
                None => Arc::clone(hub.insert(Hub::start(channels, random()?)?)),
            };
            let (ours, theirs) = UnixStream::pair()?;
            // Lives as long as the process holds its end.
            Server::on(driver)
                .configure(|config| config.limits = config.limits.max_output(HUB_OUTPUT))
                .adopt(ours, move |peer: &Peer<'_, HubPost>| {
                    let session = HubSession::new(hub, worker as u64, peer.sender());
                    proto_resp::Server::new(Arc::new(at_the_parent(message)), session)
                })?;
            given.push(theirs.into());
        }
        Ok(given)
    });
    // Until all processes have ended.
    let (mut files, mut admin_file) = (Files::default(), None);
    prefork.run_with(|parent| {
        let mut given = Given::here(settings)?;
        if let Some(tls) = &settings.tls {
            // The processes read the files themselves; this only tells early what is wrong.
            tls::check(tls)?;
            // Set only once, here.
            let _ = keys.set(tls::keys(given.keys.take())?);
        }
        files = Files::taken(settings, &given);
        for place in core::mem::take(&mut given.places) {
            parent.accept_in(place);
        }
        if parent.sockets().is_empty() {
            for place in &settings.listen {
                if crate::place::path(place).is_some() {
                    parent.accept_in(files.open(&Server::on(driver), settings, place)?);
                    continue;
                }
                parent
                    .listen(place.as_str())
                    .map_err(|error| crate::place::cannot_listen(place, &error))?;
            }
        }
        if let Some(opened) = admin::listen(settings)? {
            // Set only once, here.
            let _ = admin.set(opened.listening);
            admin_file = opened.file;
        }
        let here = parent.local_addrs();
        let mut gift = Gift {
            keys: keys.get().cloned(),
            ..Gift::default()
        };
        let port = here.first().map(|here| here.port());
        let redirecting = redirect(&Server::on(driver), settings, port, &mut given, &mut gift)?;
        announce(
            settings,
            &here,
            &files,
            redirecting.as_deref(),
            admin.get().and_then(Listening::local_addr),
        );
        if let Some(redirecting) = redirecting {
            let (redirecting, in_force) = (redirecting.stopper(), Arc::clone(&reload));
            parent.when_stopped(move || {
                let (delay, drain) = in_force.drain();
                // The processes drain after the same delay. Without a thread, the redirection ends early.
                let leave = move || {
                    std::thread::sleep(delay);
                    redirecting(drain);
                };
                let _ = std::thread::Builder::new().name("leave".into()).spawn(leave);
            });
        }
        let (stopper, is_succeeded) = (parent.stopper(), Arc::clone(&files.are_taken));
        let stop = move || {
            is_succeeded.store(true, std::sync::atomic::Ordering::Release);
            stopper.stop();
        };
        if let Some(offer) = given.hand_on(settings.handover.as_deref(), &parent.sockets(), gift, stop)? {
            parent.when_stopped(move || offer.withdraw());
        }
        let checked = move || -> Result<(), Vec<String>> {
            let change = reload.read()?;
            if let Some(tls) = &change.settings.tls {
                tls::check(tls).map_err(|error| vec![format!("tls_cert: {error}")])?;
            }
            change.tell();
            reload.is_now(change.options.clone());
            passing.pass(&change.options);
            Ok(())
        };
        hangup.then(move || {
            if let Err(problems) = checked() {
                refused(&problems);
            }
        })
    })?;
    drop((files, admin_file));
    Ok(())
}

/// A file from which a process reads the options in force: the file of settings may have changed since, and may be wrong.
fn pass(options: &Options) -> io::Result<OwnedFd> {
    let mut file = File::from(memfd_create("settings", MemfdFlags::CLOEXEC)?);
    file.write_all(&serde_json::to_vec(options)?)?;
    file.rewind()?;
    Ok(file.into())
}

/// Serves as one of several processes.
pub(super) fn work() -> io::Result<()> {
    // Only the parent reloads; a signal to the whole group must not end this process.
    let _hangup = Hangup::catch()?;
    let role = Prefork::new(1).run_with(|_| Err(io::Error::other("this process has no parent")))?;
    let Role::Worker {
        number,
        places,
        inherited,
    } = role
    else {
        return Ok(());
    };
    let mut inherited = inherited.into_iter();
    let mut next = || {
        let given = inherited.next();
        given.ok_or_else(|| io::Error::other("the parent has given too little"))
    };
    let mut text = String::new();
    File::from(next()?).read_to_string(&mut text)?;
    let options: Options = serde_json::from_str(&text)?;
    logging::begin(&options);
    let settings = Settings::new(options).map_err(|problems| io::Error::other(problems.join("; ")))?;
    let parent = next()?;
    let certificates = match &settings.tls {
        Some(tls) => Some(Certificates::read(tls, Some(next()?))?),
        None => None,
    };
    let admin = match settings.admin_listen {
        Some(_) => Some(Listening::from(next()?)),
        None => None,
    };
    worker(
        &settings,
        number,
        places,
        parent.into(),
        certificates,
        admin,
        inherited.next(),
    )
}

fn worker(
    settings: &Settings,
    number: usize,
    places: Vec<Listening>,
    parent: UnixStream,
    certificates: Option<Arc<Certificates>>,
    admin: Option<Listening>,
    hub: Option<OwnedFd>,
) -> io::Result<()> {
    let signals = Signals::catch()?;
    let stop = Arc::new(OnceLock::new());
    let node = node(settings, parent_id(), number, |inbox, name| match &settings.broker {
        BrokerUrl::Memory => Box::new(at_the_hub(settings, inbox, hub, Arc::clone(&stop))),
        BrokerUrl::Redis(url) => Box::new(
            url.clone()
                .broker(settings.driver, inbox, name, settings.limits.message),
        ),
    })?;
    let Served { server, admin, live } = serve(&server(settings), settings, &node, places, certificates, admin)?;
    let put = live.clone();
    watch::report(&node, parent, move |options| put_in_force(&put, options))?;
    // Set only once, here.
    let _ = stop.set(server.stopper());
    let ended = server.until(signals, &live.app, Box::new(|_| {}));
    node.ends(LAST_EVENTS);
    drop(admin);
    ended
}

/// Puts options in force that the parent has checked.
fn put_in_force(live: &Live, options: Options) {
    let outcome = Settings::new(options).and_then(|settings| live.apply(&settings));
    if let Err(problems) = outcome {
        refused(&problems);
    }
}

/// The broker in the parent, over the inherited socket. When that connection ends, this process cannot serve: it exits, and the parent
/// starts another.
fn at_the_hub(
    settings: &Settings,
    inbox: Weak<dyn Inbox>,
    hub: Option<OwnedFd>,
    stop: Arc<OnceLock<Stopper>>,
) -> Arc<Upstream> {
    let (driver, drain) = (settings.driver, settings.drain);
    let mut config = ClientConfig::default();
    let limits = &mut config.rules.limits;
    limits.bulk = limits.bulk.max(2 * settings.limits.message as u64);
    limits.reply = limits.reply.max(4 * settings.limits.message as u64);
    let config = Arc::new(config);
    let socket = Mutex::new(hub);
    let connect = move |upstream: Arc<Upstream>, role, generation| {
        let socket = socket.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(socket) = socket else {
            if let Some(server) = stop.get() {
                server(drain);
            }
            return upstream.is_down(role, generation, Refusal::Ever("the parent is gone".to_owned()));
        };
        let (tell, told) = std::sync::mpsc::channel();
        let speaker = Speaker::new(Arc::clone(&upstream), role, generation);
        let config = Arc::clone(&config);
        let adopted = Server::on(driver)
            .configure(|config| config.limits = config.limits.max_output(HUB_OUTPUT))
            .adopt(socket, move |peer: &Peer<'_, Wake>| {
                // The receiver waits for the sender.
                let _ = tell.send(peer.sender());
                Client::new(config, speaker)
            });
        match adopted.and_then(|_| told.recv().map_err(io::Error::other)) {
            Ok(sender) => upstream.linked(role, generation, Box::new(sender)),
            Err(error) => upstream.is_down(role, generation, Refusal::Now(error.to_string())),
        }
    };
    Upstream::new(HubDialect, inbox, Box::new(connect))
}

/// The parent's settings for connections from processes, whose publications have at most `message` bytes.
fn at_the_parent(message: usize) -> ServerConfig {
    let mut config = ServerConfig::default();
    let limits = &mut config.rules.limits;
    limits.bulk = limits.bulk.max(2 * message as u64);
    let command = u32::try_from(2 * message).unwrap_or(u32::MAX);
    limits.command = limits.command.max(command.saturating_add(1 << 20));
    // The process itself probes an idle connection.
    config.timeouts.idle = None;
    config
}
