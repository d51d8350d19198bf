//! The compression engines alone, as a lower bound: without frames, limits or checks of the result.

use std::hint::black_box;

use benches::turns::Job;
use miniz_oxide::deflate::core::{CompressorOxide, create_comp_flags_from_zip_params};
use miniz_oxide::inflate::stream::{InflateState, MinReset};
use miniz_oxide::{DataFormat, MZFlush};
use zlib_rs::{Deflate, DeflateFlush, Inflate, InflateFlush};

use super::{Case, Cycle, Task};

/// More than the length of any message, compressed or not.
const ROOM: usize = 4096;

/// Both directions of one connection. Each call processes a message with a flush, and returns the length of its result.
trait Engine: 'static {
    fn new(case: &Case) -> Self;
    fn deflate(&mut self, message: &[u8], room: &mut [u8]) -> usize;
    fn inflate(&mut self, compressed: &[u8], room: &mut [u8]) -> usize;
}

pub(crate) fn zlib_rs(case: &Case) -> Option<Job> {
    Some(job::<ZlibRs>(case))
}

pub(crate) fn miniz_oxide(case: &Case) -> Option<Job> {
    Some(job::<Miniz>(case))
}

fn job<E: Engine>(case: &Case) -> Job {
    let (mut engine, mut other) = (E::new(case), E::new(case));
    let (mut inflated, mut room) = (vec![0; ROOM], vec![0; ROOM]);
    let messages = case.messages.iter().map(|message| message.as_bytes().to_vec());
    // The messages keep their last four bytes, which RFC 7692 section 7.2.2 restores before inflating.
    let compressed = messages.clone().map(|message| {
        let len = other.deflate(&message, &mut room);
        room[..len].to_vec()
    });
    let (task, mut things) = match case.task {
        Task::Send => (Task::Send, Cycle::new(messages.collect())),
        task => (task, Cycle::new(compressed.collect())),
    };
    Box::new(move |count| {
        for _ in 0..count {
            let thing = black_box(things.next());
            let made = match task {
                Task::Send => engine.deflate(thing, &mut room),
                Task::Receive => engine.inflate(thing, &mut room),
                Task::Echo => {
                    let len = engine.inflate(thing, &mut inflated);
                    engine.deflate(black_box(&inflated[..len]), &mut room)
                }
            };
            black_box(&room[..made]);
        }
        count
    })
}

struct ZlibRs {
    deflate: Deflate,
    inflate: Inflate,
    takeover: bool,
}

impl Engine for ZlibRs {
    fn new(case: &Case) -> Self {
        ZlibRs {
            deflate: Deflate::new(case.level, false, 15),
            inflate: Inflate::new(false, 15),
            takeover: case.takeover,
        }
    }

    fn deflate(&mut self, message: &[u8], room: &mut [u8]) -> usize {
        let before = self.deflate.total_out();
        self.deflate.compress(message, room, DeflateFlush::SyncFlush).unwrap();
        let made = (self.deflate.total_out() - before) as usize;
        if !self.takeover {
            self.deflate.reset();
        }
        made
    }

    fn inflate(&mut self, compressed: &[u8], room: &mut [u8]) -> usize {
        let before = self.inflate.total_out();
        self.inflate
            .decompress(compressed, room, InflateFlush::SyncFlush)
            .unwrap();
        let made = (self.inflate.total_out() - before) as usize;
        if !self.takeover {
            self.inflate.reset(false);
        }
        made
    }
}

struct Miniz {
    deflate: Box<CompressorOxide>,
    inflate: Box<InflateState>,
    takeover: bool,
}

impl Engine for Miniz {
    fn new(case: &Case) -> Self {
        let flags = create_comp_flags_from_zip_params(case.level, -15, 0);
        Miniz {
            deflate: Box::new(CompressorOxide::new(flags)),
            inflate: InflateState::new_boxed(DataFormat::Raw),
            takeover: case.takeover,
        }
    }

    fn deflate(&mut self, message: &[u8], room: &mut [u8]) -> usize {
        let result = miniz_oxide::deflate::stream::deflate(&mut self.deflate, message, room, MZFlush::Sync);
        if !self.takeover {
            self.deflate.reset();
        }
        result.status.unwrap();
        result.bytes_written
    }

    fn inflate(&mut self, compressed: &[u8], room: &mut [u8]) -> usize {
        let result = miniz_oxide::inflate::stream::inflate(&mut self.inflate, compressed, room, MZFlush::Sync);
        if !self.takeover {
            self.inflate.reset_as(MinReset);
        }
        result.status.unwrap();
        result.bytes_written
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages_come_through<E: Engine>() {
        for takeover in [false, true] {
            let case = Case {
                task: Task::Echo,
                level: 6,
                takeover,
                messages: benches::json::messages(),
            };
            let (mut engine, mut compressed, mut room) = (E::new(&case), vec![0; ROOM], vec![0; ROOM]);
            let mut total = 0;
            for message in &case.messages {
                let len = engine.deflate(message.as_bytes(), &mut compressed);
                assert!(compressed[..len].ends_with(&[0, 0, 0xff, 0xff]));
                total += len;
                let len = engine.inflate(&compressed[..len], &mut room);
                assert_eq!(&room[..len], message.as_bytes());
            }
            // This JSON is compressed to a third, or to a quarter with context takeover.
            let part = total as f64 / (case.messages.len() * benches::json::LEN) as f64;
            assert!((0.15..0.6).contains(&part), "{part}");
        }
    }

    #[test]
    fn messages_come_through_zlib_rs() {
        messages_come_through::<ZlibRs>();
    }

    #[test]
    fn messages_come_through_miniz_oxide() {
        messages_come_through::<Miniz>();
    }
}
