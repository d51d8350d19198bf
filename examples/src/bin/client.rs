//! A WebSocket client: sends lines from standard input, and prints received messages.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc;
use std::{io, thread};

use clap::Parser;
use drivers::{Driver, Server};
use proto_ws::entropy::PerThread;
use proto_ws::{Client, CloseCode, Handler, Masked, Message, Misuse, Opening, Socket};
use protocol::Sender;

/// Sends lines from standard input to a WebSocket server, and prints received messages.
#[derive(Parser)]
struct Options {
    /// The server, such as 127.0.0.1:8080.
    server: SocketAddr,
    /// The path to request.
    #[arg(default_value = "/ws")]
    path: String,
    /// The driver: epoll or tokio.
    #[arg(long, default_value_t)]
    driver: Driver,
}

enum Order {
    Say(String),
    Leave,
}

struct Console {
    /// Sent to the main thread when the connection is open.
    sender: Option<Sender<Order>>,
    open: mpsc::Sender<Sender<Order>>,
}

impl Handler<Masked<PerThread>> for Console {
    type Message = Order;

    fn opened(&mut self, _: &mut Socket<'_, '_, Masked<PerThread>>) -> Result<(), Misuse> {
        if let Some(sender) = self.sender.take() {
            // The receiver is dropped only after the end of standard input.
            let _ = self.open.send(sender);
        }
        Ok(())
    }

    fn message(&mut self, message: Message<'_>, _: &mut Socket<'_, '_, Masked<PerThread>>) -> Result<(), Misuse> {
        match message {
            Message::Text(text) => println!("{text}"),
            Message::Binary(bytes) => println!("({} bytes)", bytes.len()),
        }
        Ok(())
    }

    fn posted(&mut self, order: Order, socket: &mut Socket<'_, '_, Masked<PerThread>>) -> Result<(), Misuse> {
        match order {
            Order::Say(line) => socket.text(&line).map(drop),
            Order::Leave => socket.close(CloseCode::NORMAL, ""),
        }
    }

    fn closed(&mut self, code: CloseCode, reason: &str) {
        eprintln!("client: closed: {code:?} {reason}");
    }
}

fn main() -> io::Result<()> {
    let options = Options::parse();
    let opening = Arc::new(Opening::new(options.server.to_string(), options.path));
    let (open, opened) = mpsc::channel();
    let running = Server::on(options.driver).connect(options.server, move |peer| {
        let console = Console {
            sender: Some(peer.sender()),
            open,
        };
        Client::new(Arc::default(), opening, PerThread, console)
    })?;
    thread::spawn(move || {
        let Ok(sender) = opened.recv() else { return };
        for line in io::stdin().lines().map_while(Result::ok) {
            if sender.send(Order::Say(line)).is_err() {
                return;
            }
        }
        let _ = sender.send(Order::Leave);
    });
    let stats = running.join()?;
    if stats.connected == 0 {
        return Err(io::Error::other(format!("cannot connect to {}", options.server)));
    }
    Ok(())
}
