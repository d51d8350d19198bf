//! An `axum` router on this project's connections: only the line that serves differs from plain axum.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use axum::extract::ws::{Message, WebSocketUpgrade};
use axum::extract::{ConnectInfo, Json, Path, Query, Request};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{any, get, post};
use axum::{Extension, Router};
use clap::Parser;
use serde::{Deserialize, Serialize};
use tower_http::services::ServeDir;
use tower_http::timeout::TimeoutLayer;

/// Serves a few axum routes: try `curl -d '{"name":"you"}' -H content-type:application/json 127.0.0.1:8080/greet`.
#[derive(Parser)]
struct Options {
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// The number of threads that serve.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// A folder to serve under /files.
    #[arg(long, value_name = "FOLDER")]
    files: Option<std::path::PathBuf>,
}

#[derive(Deserialize)]
struct Person {
    name: String,
}

#[derive(Serialize)]
struct Greeting {
    text: String,
}

fn app(options: &Options) -> Router {
    let greet = |Json(person): Json<Person>| async move {
        let text = format!("Hello, {}!", person.name);
        Json(Greeting { text })
    };
    let echo = |upgrade: WebSocketUpgrade| async {
        upgrade.on_upgrade(|mut socket| async move {
            while let Some(Ok(message)) = socket.recv().await {
                // The next `recv` answers a Close.
                let is_close = matches!(message, Message::Close(_));
                if !is_close && socket.send(message).await.is_err() {
                    return;
                }
            }
        })
    };
    let mut app = Router::new()
        .route("/", get(|| async { "Hello, World!" }))
        .route("/greet", post(greet))
        .route(
            "/greet",
            get(|Query(person): Query<Person>| async move { format!("Hello, {}!\n", person.name) }),
        )
        .route(
            "/users/{id}",
            get(|Path(id): Path<u64>| async move { format!("user {id}\n") }),
        )
        .route(
            "/who",
            get(|ConnectInfo(who): ConnectInfo<SocketAddr>| async move { format!("{who}\n") }),
        )
        .route(
            "/echo",
            post(|request: Request| async { Response::new(request.into_body()) }),
        )
        .route("/ws", any(echo));
    if let Some(folder) = &options.files {
        app = app.nest_service("/files", ServeDir::new(folder));
    }
    app.layer(TimeoutLayer::with_status_code(
        StatusCode::GATEWAY_TIMEOUT,
        Duration::from_secs(30),
    ))
}

fn main() -> std::io::Result<()> {
    let options = Options::parse();
    let app = app(&options);
    let config = proto_tower::Config::new(SystemTime::now);
    let signals = processes::Signals::catch()?;
    let server = drivers::Server::on(drivers::Driver::Tokio)
        .threads(options.threads)
        .serve(options.listen, move |peer| {
            let app = app.clone().layer(Extension(ConnectInfo(peer.remote()?)));
            Some(proto_tower::connection(&config, app, peer))
        })?;
    examples::until(signals, server)
}
