//! Answers HTTP requests: `/` at once, `/slow` after a second, from another thread.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, SystemTime};

use proto_http::{Handler, Misuse, NoUpgrade, Request, Responder, Server, ServerConfig};
use protocol::Sender;

struct Hello {
    sender: Sender<String>,
}

impl Handler for Hello {
    type Message = String;
    type Next = NoUpgrade<String>;

    fn request(&mut self, request: &Request<'_>, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        match request.path() {
            "/" => responder.send(200, &[("Content-Type", "text/plain")], b"Hello!\n"),
            "/slow" => {
                let sender = self.sender.clone();
                // A real program uses a pool of threads with a bounded queue.
                let work = move || {
                    thread::sleep(Duration::from_secs(1));
                    // The client may have disconnected.
                    let _ = sender.send("Hello, after some work!\n".into());
                };
                thread::spawn(work);
                Ok(())
            }
            _ => responder.send(404, &(), b""),
        }
    }

    fn posted(&mut self, answer: String, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        if responder.is_due() {
            responder.send(200, &[("Content-Type", "text/plain")], answer.as_bytes())?;
        }
        Ok(())
    }
}

fn main() -> std::io::Result<()> {
    let config = Arc::new(ServerConfig::new(SystemTime::now));
    examples::serve(move |peer| Some(Server::new(Arc::clone(&config), Hello { sender: peer.sender() })))
}
