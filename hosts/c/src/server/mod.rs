//! A server whose events the program pulls: HTTP and WebSocket on one port, over driver-epoll in the program's own thread.

mod connection;
mod event;

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ::proto_http::{FieldLines, ServerConfig};
use ::proto_ws::{CloseCode, Config};
use driver_epoll::{Loop, SocketOptions};
use protocol::{Sender, Switch};

use self::connection::{Entry, Reply, Shared, Stage, Visitor};
use self::event::Current;
use crate::buffer::{bytes, fields, proto_buffer, proto_bytes, proto_field, set, text};
use crate::error::{self, *};
use crate::http_head::proto_http_head;
use crate::ws_handshake::{Options, proto_ws_upgrade_options};

/// What an event of a server is.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum proto_server_event_kind {
    /// A whole request: `head`, and its content in `data`. Answer it by `proto_server_respond`, `proto_server_start` or
    /// `proto_server_upgrade`, now or later; the connection's next request waits for that.
    PROTO_SERVER_REQUEST = 0,
    /// The connection has become a WebSocket.
    PROTO_SERVER_OPENED = 1,
    /// A whole message of a WebSocket, in `data`.
    PROTO_SERVER_MESSAGE = 2,
    /// A WebSocket has closed, with `code` and a reason in `data`; or a request was not answered before its client went away, or
    /// before its time was over: then `code` is 0. No event with this id follows.
    PROTO_SERVER_CLOSED = 3,
}

/// An event of a server. Its bytes are valid until the next `proto_server_next` or `proto_server_poll`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct proto_server_event {
    /// What it is.
    pub kind: proto_server_event_kind,
    /// Messages: whether it is text.
    pub text: bool,
    /// Closed: the code of WebSocket, 1006 if the client went away, else 0.
    pub code: u16,
    /// The connection.
    pub id: u64,
    /// Requests: the head.
    pub head: proto_http_head,
    /// Requests: the content. Messages: the payload. Closed: the reason.
    pub data: proto_bytes,
}

/// The settings of a server. Fill it by `proto_server_config_default`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct proto_server_config {
    /// Connections at once; further ones wait in the kernel. 1,000,000.
    pub connections: usize,
    /// Bytes of a request's content; more gets 413. 1 MiB. Each connection may hold that much.
    pub body: u64,
    /// Bytes of a WebSocket message. 1 MiB. Each connection may hold that much.
    pub message: u64,
    /// Milliseconds between two requests. 60,000. 0 is no limit.
    pub idle: u64,
    /// Milliseconds that a request may wait for its answer. 60,000. 0 is no limit.
    pub answer: u64,
    /// Bytes of output that may wait for a client that does not read; more resets it. 16 MiB.
    pub output: usize,
}

impl proto_server_config {
    fn default_values() -> Self {
        let (config, timeouts) = (driver_epoll::Config::default(), ServerConfig::default().timeouts);
        let milliseconds = |time: Option<Duration>| time.map_or(0, |time| time.as_millis() as u64);
        proto_server_config {
            connections: config.max_connections,
            body: ServerConfig::default().rules.limits.body.unwrap_or(u64::MAX),
            message: Config::default().limits.message,
            idle: milliseconds(timeouts.idle),
            answer: milliseconds(timeouts.answer),
            output: config.limits.max_output,
        }
    }
}

/// Writes the default settings.
///
/// The caller promises: `config` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn proto_server_config_default(config: *mut proto_server_config) {
    // SAFETY: as promised.
    unsafe { set(config, proto_server_config::default_values()) }
}

/// A server in the program's own thread: `proto_server_poll` lets it work, `proto_server_next` takes what has happened. One thread
/// uses it. Linux. From the heap: `proto_server_new` and `proto_server_free`.
pub struct proto_server {
    looped: Loop<Switch<::proto_http::Server<Visitor>>>,
    shared: Rc<Shared>,
    current: Current,
    listening: SocketOptions,
    /// The last error of the operating system.
    errno: i32,
}

/// Makes a server. `config` may be NULL. NULL if the system has no descriptors left.
///
/// The caller promises: `config` is NULL or points to settings.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn proto_server_new(config: *const proto_server_config) -> *mut proto_server {
    // SAFETY: as promised.
    let settings = unsafe { config.as_ref() }.map_or_else(proto_server_config::default_values, |config| *config);
    let mut driver = driver_epoll::Config::default();
    driver.max_connections = settings.connections;
    driver.limits.max_output = settings.output;
    let mut http = ServerConfig::new(SystemTime::now);
    http.rules.limits.body = (settings.body != u64::MAX).then_some(settings.body);
    let time = |milliseconds| (milliseconds > 0).then_some(Duration::from_millis(milliseconds));
    http.timeouts.idle = time(settings.idle);
    http.timeouts.answer = time(settings.answer);
    let mut ws = Config::default();
    ws.limits.message = settings.message;
    ws.limits.frame = settings.message;
    let listening = driver.socket.clone();
    let Ok(looped) = Loop::new(driver) else {
        return core::ptr::null_mut();
    };
    Box::into_raw(Box::new(proto_server {
        looped,
        shared: Rc::new(Shared::new(Arc::new(http), Arc::new(ws))),
        current: Current::default(),
        listening,
        errno: 0,
    }))
}

/// Closes all connections at once and frees the server. NULL is ignored. To let answers go out first, call `proto_server_stop`
/// before, and poll until `proto_server_is_idle`.
///
/// The caller promises: `server` is NULL or from `proto_server_new`, and is not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn proto_server_free(server: *mut proto_server) {
    if !server.is_null() {
        // SAFETY: as promised.
        drop(unsafe { Box::from_raw(server) });
    }
}

/// Listens on an address such as `127.0.0.1:8080` or `[::]:80`; port 0 takes a free one. Returns the port, or `PROTO_ADDRESS`, or
/// `PROTO_IO`.
///
/// The caller promises: `server` is from `proto_server_new`; `address` points to `length` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn proto_server_listen(server: *mut proto_server, address: *const u8, length: usize) -> i32 {
    // SAFETY: as promised.
    let (Some(server), Ok(address)) = (unsafe { server.as_mut() }, unsafe { text(address, length) }) else {
        return PROTO_NULL;
    };
    let Ok(address) = address.parse::<SocketAddr>() else {
        return PROTO_ADDRESS;
    };
    let listened = driver_epoll::listen(address, &server.listening).and_then(|socket| {
        let port = socket.local_addr()?.port();
        let shared = Rc::clone(&server.shared);
        server
            .looped
            .listen(socket, move |peer| Some(connection::accept(&shared, peer)))?;
        Ok(port)
    });
    match listened {
        Ok(port) => i32::from(port),
        Err(error) => server.failed(&error),
    }
}

impl proto_server {
    fn failed(&mut self, error: &std::io::Error) -> i32 {
        self.errno = error.raw_os_error().unwrap_or(0);
        PROTO_IO
    }

    /// Queues a reply for a connection.
    fn post(sender: &Sender<Reply>, reply: Reply) -> i32 {
        match sender.send(reply) {
            Ok(()) => PROTO_OK,
            Err(protocol::SendError::Full(_)) => PROTO_FULL,
            Err(_) => PROTO_GONE,
        }
    }

    /// Queues a reply for a connection that is in the stage `due`, which it then leaves for `then`.
    fn answer(&mut self, id: u64, due: &Stage, then: Stage, reply: impl FnOnce() -> Result<Reply, i32>) -> i32 {
        let mut connections = self.shared.connections.borrow_mut();
        let Some(entry) = connections.get_mut(&id) else {
            return PROTO_GONE;
        };
        if entry.stage != *due {
            return PROTO_HTTP_MISUSE_OUT_OF_TURN;
        }
        let code = match reply() {
            Ok(reply) => Self::post(&entry.sender, reply),
            Err(error) => error,
        };
        if code == PROTO_OK {
            entry.stage = then;
        }
        code
    }
}

/// The descriptor to wait for in an event loop of the program's own; readable when `proto_server_poll` has something to do. -1 for
/// NULL.
///
/// The caller promises: `server` is NULL or from `proto_server_new`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn proto_server_fd(server: *const proto_server) -> i32 {
    use std::os::fd::{AsFd, AsRawFd};
    // SAFETY: as promised.
    unsafe { server.as_ref() }.map_or(-1, |server| server.looped.as_fd().as_raw_fd())
}

/// Lets the server work: waits for at most `timeout` milliseconds (-1: as long as nothing happens), reads, answers, writes. Returns how
/// many events wait for `proto_server_next`: take all of them before the next call, which works only then. `PROTO_IO` if the kernel
/// refuses to wait.
///
/// The caller promises: `server` is from `proto_server_new`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn proto_server_poll(server: *mut proto_server, timeout: i32) -> i32 {
    // SAFETY: as promised.
    let Some(server) = (unsafe { server.as_mut() }) else {
        return PROTO_NULL;
    };
    server.current = Current::default();
    let waiting = |server: &proto_server| i32::try_from(server.shared.events.borrow().len()).unwrap_or(i32::MAX);
    // Without this, what clients send to a program that does not take it would pile up here.
    if waiting(server) > 0 {
        return waiting(server);
    }
    let timeout = u64::try_from(timeout).ok().map(Duration::from_millis);
    match server.looped.turn(timeout) {
        Ok(_) => waiting(server),
        Err(error) => server.failed(&error),
    }
}

/// Takes the next event. `PROTO_EVENT`, or `PROTO_MORE` if none is left: poll.
///
/// The caller promises: `server` is from `proto_server_new`; `event` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn proto_server_next(server: *mut proto_server, event: *mut proto_server_event) -> i32 {
    // SAFETY: as promised.
    let Some(server) = (unsafe { server.as_mut() }) else {
        return PROTO_NULL;
    };
    if event.is_null() {
        return PROTO_NULL;
    }
    let Some(next) = server.shared.events.borrow_mut().pop_front() else {
        return PROTO_MORE;
    };
    server.current = Current::new(next);
    // SAFETY: as promised.
    unsafe { server.current.show(event) };
    PROTO_EVENT
}

/// Answers a request with a whole response. `list` and `body` are copied. Values of fields must be UTF-8.
///
/// The caller promises: `server` is from `proto_server_new`; `list` points to `count` fields, `body` to `length` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn proto_server_respond(
    server: *mut proto_server,
    id: u64,
    status: u16,
    list: *const proto_field,
    count: usize,
    body: *const u8,
    length: usize,
) -> i32 {
    // SAFETY: as promised.
    unsafe {
        let (Some(server), Some(body)) = (server.as_mut(), bytes(body, length)) else {
            return PROTO_NULL;
        };
        server.answer(id, &Stage::Asked, Stage::Idle, || {
            let (mut packed, lines) = pack(status, list, count, body.len())?;
            packed.extend_from_slice(body);
            Ok(Reply::Respond { status, packed, lines })
        })
    }
}

/// Begins the response to a request, whose content follows by `proto_server_write` and ends by `proto_server_finish`.
/// `content_length` of `UINT64_MAX` is unknown.
///
/// The caller promises: As for `proto_server_respond`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn proto_server_start(
    server: *mut proto_server,
    id: u64,
    status: u16,
    list: *const proto_field,
    count: usize,
    content_length: u64,
) -> i32 {
    // SAFETY: as promised.
    let Some(server) = (unsafe { server.as_mut() }) else {
        return PROTO_NULL;
    };
    server.answer(id, &Stage::Asked, Stage::Answering, || {
        // SAFETY: as promised.
        let (packed, _) = unsafe { pack(status, list, count, 0) }?;
        let length = (content_length != u64::MAX).then_some(content_length);
        Ok(Reply::Start { status, packed, length })
    })
}

/// Sends content of a response that was begun. It is copied; what a slow client does not take waits here, up to
/// `proto_server_config.output`.
///
/// The caller promises: `server` is from `proto_server_new`; `data` points to `length` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn proto_server_write(server: *mut proto_server, id: u64, data: *const u8, length: usize) -> i32 {
    // SAFETY: as promised.
    let (Some(server), Some(data)) = (unsafe { server.as_mut() }, unsafe { bytes(data, length) }) else {
        return PROTO_NULL;
    };
    server.answer(id, &Stage::Answering, Stage::Answering, || {
        Ok(Reply::Data(data.to_vec()))
    })
}

/// Ends a response that was begun.
///
/// The caller promises: `server` is NULL or from `proto_server_new`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn proto_server_finish(server: *mut proto_server, id: u64) -> i32 {
    // SAFETY: as promised.
    let Some(server) = (unsafe { server.as_mut() }) else {
        return PROTO_NULL;
    };
    server.answer(id, &Stage::Answering, Stage::Idle, || Ok(Reply::Finish))
}

/// Packs checked fields as lines, with room for `more` bytes. Returns the length of the lines.
///
/// # Safety
///
/// `list` points to `count` fields.
unsafe fn pack(status: u16, list: *const proto_field, count: usize, more: usize) -> Result<(Vec<u8>, usize), i32> {
    // SAFETY: as promised.
    let list = unsafe { fields(list, count) }.ok_or(PROTO_NULL)?;
    if !(200..1000).contains(&status) {
        return Err(PROTO_HTTP_MISUSE_STATUS);
    }
    list.check().map_err(error::http_misuse)?;
    let lines = list
        .iter()
        .map(|(name, value)| name.as_ref().len() + value.as_ref().len() + 4)
        .sum();
    let mut packed = Vec::with_capacity(lines + more);
    for (name, value) in list {
        core::str::from_utf8(value.as_ref()).map_err(|_| PROTO_NOT_UTF8)?;
        for part in [name.as_ref(), b": ", value.as_ref(), b"\r\n"] {
            packed.extend_from_slice(part);
        }
    }
    Ok((packed, lines))
}

/// Answers a request for WebSocket: the connection becomes one, and `PROTO_SERVER_OPENED` follows. Where the handshake is at fault,
/// the client gets the response that says so, and this returns `PROTO_WS_REJECT_`. `options` may be NULL.
///
/// The caller promises: `server` is from `proto_server_new`; `options` is NULL or points to options whose lists are there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn proto_server_upgrade(
    server: *mut proto_server,
    id: u64,
    options: *const proto_ws_upgrade_options,
) -> i32 {
    // SAFETY: as promised.
    let (Some(server), options) = (unsafe { server.as_mut() }, unsafe { Options::new(options) }) else {
        return PROTO_NULL;
    };
    let options = match options {
        Ok(options) => options,
        Err(error) => return error,
    };
    let mut refused = PROTO_OK;
    let code = server.shared.clone().with_head(id, |head| {
        let lines = head.fields().iter().map(|field| (field.name, field.value));
        let reply = match options.read(head.method(), lines) {
            Ok(response) => Reply::upgrade(response.fields()),
            Err(rejection) => {
                refused = error::ws_rejection(rejection);
                Reply::refusal(rejection)
            }
        };
        let then = if refused == PROTO_OK {
            Stage::WebSocket
        } else {
            Stage::Idle
        };
        server.answer(id, &Stage::Asked, then, || Ok(reply))
    });
    if code == PROTO_OK { refused } else { code }
}

/// Sends a message on a WebSocket. Text must be UTF-8.
///
/// The caller promises: `server` is from `proto_server_new`; `data` points to `length` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn proto_server_send(
    server: *mut proto_server,
    id: u64,
    is_text: bool,
    data: *const u8,
    length: usize,
) -> i32 {
    // SAFETY: as promised.
    unsafe {
        let (Some(server), Some(payload)) = (server.as_mut(), bytes(data, length)) else {
            return PROTO_NULL;
        };
        server.answer(id, &Stage::WebSocket, Stage::WebSocket, || {
            Ok(if is_text {
                Reply::Text(core::str::from_utf8(payload).map_err(|_| PROTO_NOT_UTF8)?.to_owned())
            } else {
                Reply::Binary(payload.to_vec())
            })
        })
    }
}

/// Closes a connection. A WebSocket gets a Close frame with `code` and `reason`, and `PROTO_SERVER_CLOSED` follows; a request that
/// is not answered, or a response that is not complete, is broken off.
///
/// The caller promises: `server` is from `proto_server_new`; `reason` points to `length` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn proto_server_close(
    server: *mut proto_server,
    id: u64,
    code: u16,
    reason: *const u8,
    length: usize,
) -> i32 {
    // SAFETY: as promised.
    let (Some(server), reason) = (unsafe { server.as_mut() }, unsafe { text(reason, length) }) else {
        return PROTO_NULL;
    };
    let reason = match reason {
        Ok(reason) if reason.len() <= 123 => reason.to_owned(),
        Ok(_) => return PROTO_WS_MISUSE_CONTROL_TOO_LONG,
        Err(error) => return error,
    };
    let connections = server.shared.connections.borrow();
    match connections.get(&id) {
        None => PROTO_GONE,
        Some(Entry {
            sender,
            stage: Stage::WebSocket,
            ..
        }) => match CloseCode::new(code) {
            Some(code) => proto_server::post(sender, Reply::Close(code, reason)),
            None => PROTO_WS_MISUSE_CLOSE_CODE,
        },
        Some(entry) => proto_server::post(&entry.sender, Reply::Abort),
    }
}

/// Writes the client's address, such as `127.0.0.1:40000`, to `out`. `PROTO_GONE` if the connection has ended.
///
/// The caller promises: `server` is from `proto_server_new`; `out` owns its memory.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn proto_server_remote(server: *const proto_server, id: u64, out: *mut proto_buffer) -> i32 {
    use proto_http::Buffer;
    // SAFETY: as promised.
    let (Some(server), Some(mut out)) = (unsafe { server.as_ref() }, unsafe { crate::buffer::Out::new(out) }) else {
        return PROTO_NULL;
    };
    let connections = server.shared.connections.borrow();
    let Some(remote) = connections.get(&id).and_then(|entry| entry.remote) else {
        return PROTO_GONE;
    };
    out.put(remote.to_string().as_bytes())
        .map_or(PROTO_NO_SPACE, |()| PROTO_OK)
}

/// Stops: closes the listeners and idle connections, lets answers go out for up to `drain` milliseconds, then resets what is left.
/// Poll until `proto_server_is_idle`.
///
/// The caller promises: `server` is NULL or from `proto_server_new`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn proto_server_stop(server: *mut proto_server, drain: u64) {
    // SAFETY: as promised.
    if let Some(server) = unsafe { server.as_ref() } {
        server.looped.handle().stop(Duration::from_millis(drain));
    }
}

/// Whether the server has no listener, no connection and no event. True for NULL.
///
/// The caller promises: `server` is NULL or from `proto_server_new`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn proto_server_is_idle(server: *const proto_server) -> bool {
    // SAFETY: as promised.
    unsafe { server.as_ref() }.is_none_or(|server| server.looped.is_idle() && server.shared.events.borrow().is_empty())
}

/// The error number of the system behind the last `PROTO_IO`; 0 if there was none.
///
/// The caller promises: `server` is NULL or from `proto_server_new`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn proto_server_errno(server: *const proto_server) -> i32 {
    // SAFETY: as promised.
    unsafe { server.as_ref() }.map_or(0, |server| server.errno)
}

impl Shared {
    fn new(http: Arc<ServerConfig>, ws: Arc<Config>) -> Self {
        Shared {
            http,
            ws,
            events: RefCell::default(),
            connections: RefCell::default(),
            last: 0.into(),
        }
    }
}
