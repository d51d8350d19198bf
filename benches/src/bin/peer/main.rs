//! The servers that the testbed is compared with: `peer NAME --listen ADDR`.
//!
//! Each answers `GET /` as the testbed does, or echoes WebSocket messages, in the way its documentation recommends. The two floors do
//! almost nothing: they cost the kernel's or tokio's time, and a copy.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};

mod http;
mod websocket;

mod floor;
#[cfg(target_os = "linux")]
mod floor_epoll;
mod floor_tokio;

/// The greeting of every server here.
const BODY: &str = "Hello, World!";

/// A server to compare with.
#[derive(Parser)]
struct Options {
    /// Which.
    #[arg(value_enum)]
    name: Name,
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// The certificate of those that speak TLS, in PEM.
    #[arg(long, value_name = "FILE", required_if_eq("name", "hyper-tls"))]
    tls_cert: Option<PathBuf>,
    /// Its key.
    #[arg(long, value_name = "FILE", required_if_eq("name", "hyper-tls"))]
    tls_key: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Name {
    /// A bare epoll loop without checks; HTTP and WebSocket.
    FloorEpoll,
    /// The same on tokio.
    FloorTokio,
    Hyper,
    /// hyper over tokio-rustls.
    HyperTls,
    ActixWeb,
    Ntex,
    MayMinihttp,
    Fastwebsockets,
    TokioTungstenite,
    TokioWebsockets,
}

fn main() -> ExitCode {
    let Options {
        name,
        listen,
        tls_cert,
        tls_key,
    } = Options::parse();
    let served = match name {
        #[cfg(target_os = "linux")]
        Name::FloorEpoll => floor_epoll::serve(listen),
        #[cfg(not(target_os = "linux"))]
        Name::FloorEpoll => Err(io::ErrorKind::Unsupported.into()),
        Name::FloorTokio => floor_tokio::serve(listen),
        Name::Hyper => http::hyper(listen),
        Name::HyperTls => http::hyper_tls(listen, &tls_cert.unwrap_or_default(), &tls_key.unwrap_or_default()),
        Name::ActixWeb => http::actix_web(listen),
        Name::Ntex => http::ntex(listen),
        Name::MayMinihttp => http::may_minihttp(listen),
        Name::Fastwebsockets => websocket::fastwebsockets(listen),
        Name::TokioTungstenite => websocket::tokio_tungstenite(listen),
        Name::TokioWebsockets => websocket::tokio_websockets(listen),
    };
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("peer: cannot serve on {listen}: {error}");
            ExitCode::from(2)
        }
    }
}

/// Runs `serve` for each connection, on one thread.
fn on_tokio<F>(listen: SocketAddr, serve: impl Fn(tokio::net::TcpStream) -> F) -> io::Result<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(listen).await?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::spawn(serve(stream));
        }
    })
}
