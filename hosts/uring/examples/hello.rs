//! Answers HTTP requests over io_uring, or with `epoll` over epoll, for comparison.
//!
//! `cargo run --release -p uring-example --example hello [ADDR [epoll]]`

#[cfg(not(target_os = "linux"))]
fn main() {}

#[cfg(target_os = "linux")]
fn main() -> std::io::Result<()> {
    use std::net::TcpListener;
    use std::sync::Arc;
    use std::time::SystemTime;

    use driver_common::Config;
    use proto_http::{Handler, Misuse, NoUpgrade, Request, Responder, Server, ServerConfig};
    use protocol::Peer;

    struct Hello;

    impl Handler for Hello {
        type Message = ();
        type Next = NoUpgrade<()>;

        fn request(&mut self, request: &Request<'_>, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
            match request.path() {
                "/" => responder.send(200, &[("Content-Type", "text/plain")], b"Hello!\n"),
                _ => responder.send(404, &(), b""),
            }
        }
    }

    let mut arguments = std::env::args().skip(1);
    let listener = TcpListener::bind(arguments.next().unwrap_or_else(|| "127.0.0.1:8080".into()))?;
    let config = Arc::new(ServerConfig::new(SystemTime::now));
    let factory = move |_: &Peer<'_, ()>| Some(Server::new(Arc::clone(&config), Hello));
    if arguments.next().as_deref() == Some("epoll") {
        let mut epoll = driver_epoll::Loop::new(Config::default())?;
        epoll.listen(listener, factory)?;
        epoll.run()
    } else {
        uring_example::Loop::new(Config::default(), listener, factory)?
            .run()
            .map(drop)
    }
}
