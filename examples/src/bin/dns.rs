//! Looks up the IPv4 addresses of names over UDP: an endpoint with its own deadline and three attempts.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use clap::Parser;
use drivers::{Driver, serve_datagrams};
use hickory_proto::op::{Message, MessageType, OpCode, Query};
use hickory_proto::rr::{Name, RData, RecordType};
use protocol::bytes::Bytes;
use protocol::{Datagram, Endpoint, EndpointCx, Transmit};

/// Looks up the IPv4 addresses of names.
#[derive(Parser)]
struct Options {
    /// The names.
    #[arg(required = true)]
    names: Vec<Name>,
    /// The server to ask.
    #[arg(long, default_value = "127.0.0.1:53")]
    server: SocketAddr,
    /// The driver: epoll or tokio.
    #[arg(long, default_value_t)]
    driver: Driver,
}

/// The number of attempts per question, and the time to wait for each answer.
const TRIES: u32 = 3;
const PATIENCE: Duration = Duration::from_secs(1);

struct Resolver {
    server: SocketAddr,
    /// Unanswered questions, by their id.
    open: HashMap<u16, Name>,
    tries: u32,
    deadline: Option<Instant>,
}

impl Resolver {
    /// Sends all unanswered questions.
    fn ask(&mut self, cx: &mut EndpointCx<'_>) {
        self.tries += 1;
        self.deadline = Some(cx.now() + PATIENCE);
        for (id, name) in &self.open {
            let mut message = Message::new(*id, MessageType::Query, OpCode::Query);
            message.metadata.recursion_desired = true;
            message.add_query(Query::query(name.clone(), RecordType::A));
            let Ok(payload) = message.to_vec() else { continue };
            let transmit = Transmit {
                to: self.server,
                payload: Bytes::from(payload),
                segment_size: None,
                ecn: None,
            };
            // Questions that do not fit in the queue are repeated at the deadline.
            let _ = cx.transmit(transmit);
        }
    }
}

impl Endpoint for Resolver {
    type Message = Infallible;
    type Error = Infallible;

    fn opened(&mut self, cx: &mut EndpointCx<'_>) -> Result<(), Infallible> {
        self.ask(cx);
        Ok(())
    }

    fn received(&mut self, cx: &mut EndpointCx<'_>, datagram: Datagram<'_>) -> Result<(), Infallible> {
        // Anyone can send a datagram: only the server's answers to unanswered questions count.
        if datagram.from != self.server {
            return Ok(());
        }
        let Ok(answer) = Message::from_vec(datagram.payload) else {
            return Ok(());
        };
        let asked = self.open.get(&answer.metadata.id);
        if answer.metadata.message_type != MessageType::Response
            || asked.is_none_or(|name| answer.queries.iter().all(|query| query.name() != name))
        {
            return Ok(());
        }
        if let Some(name) = self.open.remove(&answer.metadata.id) {
            let mut found = answer.answers.iter().filter_map(|record| match &record.data {
                RData::A(address) => Some(address.0),
                _ => None,
            });
            match found.next() {
                None => println!("{name} {}", answer.metadata.response_code),
                Some(first) => [first]
                    .into_iter()
                    .chain(found)
                    .for_each(|address| println!("{name} {address}")),
            }
        }
        if self.open.is_empty() {
            cx.close();
        }
        Ok(())
    }

    fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    fn timeout(&mut self, cx: &mut EndpointCx<'_>) -> Result<(), Infallible> {
        if self.tries < TRIES {
            self.ask(cx);
        } else {
            for name in self.open.values() {
                println!("{name} no answer");
            }
            cx.close();
        }
        Ok(())
    }
}

fn main() -> std::io::Result<()> {
    let options = Options::parse();
    // The ids may be guessable here, because the server is reached over a trusted network.
    let open = (1..).zip(options.names).collect();
    let resolver = Resolver {
        server: options.server,
        open,
        tries: 0,
        deadline: None,
    };
    serve_datagrams(options.driver, examples::datagrams_to(options.server)?, |_| resolver).map(drop)
}
