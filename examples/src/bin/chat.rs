//! A chat of lines over TCP: everyone receives what anyone sends.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use protocol::bytes::Bytes;
use protocol::{Cx, Input, Protocol, Reason, Sender};

/// The longest line, in bytes.
const LONGEST: usize = 1000;

/// All clients, by address.
type Room = Arc<Mutex<HashMap<SocketAddr, Sender<Bytes>>>>;

struct Member {
    room: Room,
    address: SocketAddr,
    sender: Option<Sender<Bytes>>,
}

#[derive(Debug)]
struct LineTooLong;

impl fmt::Display for LineTooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a line is longer than {LONGEST} bytes")
    }
}

impl std::error::Error for LineTooLong {}

impl Member {
    fn tell_all(&self, line: &[u8]) {
        let said = [format!("{}: ", self.address).as_bytes(), line].concat();
        let said = Bytes::from(said);
        for sender in self.room.lock().unwrap_or_else(PoisonError::into_inner).values() {
            // A client that does not keep up misses the line.
            let _ = sender.send(said.clone());
        }
    }
}

impl Protocol for Member {
    type Message = Bytes;
    type Error = LineTooLong;

    fn connected(&mut self, _: &mut Cx<'_>) -> Result<(), LineTooLong> {
        if let Some(sender) = self.sender.take() {
            self.room
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(self.address, sender);
        }
        self.tell_all(b"is here\n");
        Ok(())
    }

    fn received(&mut self, cx: &mut Cx<'_>, input: &mut Input<'_>) -> Result<(), LineTooLong> {
        while let Some(end) = input.as_slice().iter().position(|byte| *byte == b'\n') {
            self.tell_all(input.take(end + 1));
        }
        // The rest of a line waits in the input.
        if input.len() > LONGEST {
            cx.send(b"that line is too long\n");
            return Err(LineTooLong);
        }
        Ok(())
    }

    fn posted(&mut self, cx: &mut Cx<'_>, said: Bytes) -> Result<(), LineTooLong> {
        if !cx.is_congested() {
            cx.output().push(said);
        }
        Ok(())
    }

    fn closed(&mut self, _: Reason) {
        let left = self
            .room
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.address);
        drop(left);
        self.tell_all(b"has left\n");
    }
}

fn main() -> std::io::Result<()> {
    let room = Room::default();
    examples::serve(move |peer| {
        Some(Member {
            room: Arc::clone(&room),
            address: peer.remote()?,
            sender: Some(peer.sender()),
        })
    })
}
