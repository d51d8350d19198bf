//! The streams of a connection: a slab, and an index by identifier.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::state::Half;

/// One stream that is not closed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stream {
    /// The identifier; 0 if the slot is free.
    pub(crate) id: u32,
    pub(crate) receiving: Half,
    pub(crate) sending: Half,
    pub(crate) flags: u8,
    /// The priority (RFC 9218 section 4.1), in the layout of [`crate::Priority`].
    pub(crate) priority: u8,
    /// Bytes we may send. A change of settings can make the window negative.
    pub(crate) send_window: i32,
    /// Bytes the peer may send.
    pub(crate) receive_window: i32,
    /// Bytes handed to the caller and not yet consumed.
    pub(crate) held: u32,
    /// Bytes consumed and not yet granted again.
    pub(crate) consumed: u32,
    /// Bytes of content that may still arrive, by the announced length or by the limit.
    pub(crate) expected: u64,
    /// Bytes of announced content that are still to be sent; `u64::MAX` where no length was announced.
    pub(crate) left: u64,
}

impl Stream {
    /// The request is HEAD: the response has no content.
    pub(crate) const HEAD: u8 = 1;
    /// `expected` is an announced length, not a limit.
    pub(crate) const KNOWN: u8 = 1 << 1;
    /// A CONNECT: after a 2xx response, content is the bytes of another protocol.
    pub(crate) const TUNNEL: u8 = 1 << 2;
    /// An extended CONNECT (RFC 8441).
    pub(crate) const EXTENDED: u8 = 1 << 3;
    /// Our message has ended because it has no content; further content is dropped.
    pub(crate) const DROPS: u8 = 1 << 4;
    /// The client waits for a 100.
    pub(crate) const EXPECTS: u8 = 1 << 5;
    /// The tunnel is open.
    pub(crate) const SWITCHED: u8 = 1 << 6;

    /// A free slot.
    const FREE: Self = Self {
        id: 0,
        receiving: Half::Head,
        sending: Half::Head,
        flags: 0,
        priority: 0,
        send_window: 0,
        receive_window: 0,
        held: 0,
        consumed: 0,
        expected: 0,
        left: 0,
    };

    #[inline]
    pub(crate) const fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    #[inline]
    pub(crate) fn is_closed(&self) -> bool {
        self.receiving == Half::Done && self.sending == Half::Done
    }
}

const EMPTY: u16 = u16::MAX;

/// The streams that are not closed. A stream keeps its slot. The first stream is stored inline, so that a connection with one stream at a
/// time allocates nothing.
#[derive(Debug)]
pub(crate) struct Streams {
    first: Stream,
    others: Option<Box<Open>>,
}

impl Default for Streams {
    fn default() -> Self {
        Self {
            first: Stream::FREE,
            others: None,
        }
    }
}

impl Streams {
    /// The most streams a connection can hold.
    pub(crate) const MOST: u32 = 32_768;

    #[inline]
    pub(crate) fn len(&self) -> u32 {
        u32::from(self.first.id != 0) + self.others.as_ref().map_or(0, |open| open.live)
    }

    #[inline]
    pub(crate) fn slot(&self, id: u32) -> Option<usize> {
        if self.first.id == id {
            return (id != 0).then_some(0);
        }
        Some(self.others.as_ref()?.slot(id)? + 1)
    }

    #[inline]
    pub(crate) fn get(&self, id: u32) -> Option<&Stream> {
        if self.first.id == id {
            return (id != 0).then_some(&self.first);
        }
        self.others.as_ref()?.get(id)
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, id: u32) -> Option<&mut Stream> {
        if self.first.id == id {
            return (id != 0).then_some(&mut self.first);
        }
        self.others.as_mut()?.get_mut(id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Stream> {
        let first = core::iter::once(&self.first).filter(|stream| stream.id != 0);
        first.chain(self.others.iter().flat_map(|open| open.iter()))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Stream> {
        let first = core::iter::once(&mut self.first).filter(|stream| stream.id != 0);
        first.chain(self.others.iter_mut().flat_map(|open| open.iter_mut()))
    }

    /// Adds a stream whose identifier is new. There must be fewer than [`MOST`](Self::MOST).
    #[inline]
    pub(crate) fn insert(&mut self, stream: Stream) {
        if self.first.id == 0 {
            self.first = stream;
        } else {
            self.others.get_or_insert_default().insert(stream);
        }
    }

    /// Removes a stream.
    #[inline]
    pub(crate) fn remove(&mut self, id: u32) -> Option<Stream> {
        if self.first.id == id {
            return (id != 0).then(|| core::mem::replace(&mut self.first, Stream::FREE));
        }
        self.others.as_mut()?.remove(id)
    }

    /// Frees memory if there is no stream.
    pub(crate) fn give_back(&mut self) {
        if self.len() == 0 {
            self.others = None;
        }
    }
}

/// The streams other than the first.
#[derive(Debug)]
struct Open {
    slots: Vec<Stream>,
    /// The first free slot; `held` of each free slot names the next one.
    free: u16,
    /// Slots by identifier: open addressing, at most half full. Identifiers count up by two, so that consecutive ones never collide.
    index: Vec<u16>,
    live: u32,
}

impl Default for Open {
    fn default() -> Self {
        Self {
            slots: Vec::new(),
            free: EMPTY,
            index: Vec::new(),
            live: 0,
        }
    }
}

impl Open {
    #[inline]
    fn place(&self, id: u32) -> usize {
        (id >> 1) as usize & (self.index.len().wrapping_sub(1))
    }

    #[inline]
    fn slot(&self, id: u32) -> Option<usize> {
        if self.index.is_empty() {
            return None;
        }
        let mut at = self.place(id);
        loop {
            let slot = *self.index.get(at)?;
            if slot == EMPTY {
                return None;
            }
            if self.slots.get(usize::from(slot))?.id == id {
                return Some(usize::from(slot));
            }
            at = (at + 1) & (self.index.len() - 1);
        }
    }

    #[inline]
    fn get(&self, id: u32) -> Option<&Stream> {
        self.slots.get(self.slot(id)?)
    }

    #[inline]
    fn get_mut(&mut self, id: u32) -> Option<&mut Stream> {
        let slot = self.slot(id)?;
        self.slots.get_mut(slot)
    }

    fn iter(&self) -> impl Iterator<Item = &Stream> {
        self.slots.iter().filter(|stream| stream.id != 0)
    }

    fn iter_mut(&mut self) -> impl Iterator<Item = &mut Stream> {
        self.slots.iter_mut().filter(|stream| stream.id != 0)
    }

    /// Adds a stream whose identifier is new.
    #[inline]
    fn insert(&mut self, stream: Stream) {
        if (self.live as usize + 1) * 2 > self.index.len() {
            self.grow();
        }
        let slot = match self.slots.get_mut(usize::from(self.free)) {
            Some(place) => {
                let next = place.held as u16;
                *place = stream;
                core::mem::replace(&mut self.free, next)
            }
            None => {
                self.slots.push(stream);
                (self.slots.len() - 1) as u16
            }
        };
        self.live += 1;
        self.link(stream.id, slot);
    }

    #[inline]
    fn link(&mut self, id: u32, slot: u16) {
        let mut at = self.place(id);
        let mask = self.index.len().wrapping_sub(1);
        while let Some(place) = self.index.get_mut(at) {
            if *place == EMPTY {
                *place = slot;
                return;
            }
            at = (at + 1) & mask;
        }
    }

    #[cold]
    fn grow(&mut self) {
        let size = (self.index.len() * 2).max(4);
        self.index.clear();
        self.index.resize(size, EMPTY);
        for slot in 0..self.slots.len() {
            let id = self.slots[slot].id;
            if id != 0 {
                self.link(id, slot as u16);
            }
        }
    }

    /// Removes a stream.
    #[inline]
    fn remove(&mut self, id: u32) -> Option<Stream> {
        let slot = self.slot(id)?;
        let stream = *self.slots.get(slot)?;
        let mask = self.index.len() - 1;
        let mut hole = self.place(id);
        while self.index.get(hole).is_some_and(|&found| usize::from(found) != slot) {
            hole = (hole + 1) & mask;
        }
        // Later entries move up, unless they would move in front of their own place.
        let mut at = hole;
        loop {
            at = (at + 1) & mask;
            let next = self.index.get(at).copied().unwrap_or(EMPTY);
            if next == EMPTY {
                break;
            }
            let home = self
                .slots
                .get(usize::from(next))
                .map_or(at, |stream| self.place(stream.id));
            if at.wrapping_sub(home) & mask >= at.wrapping_sub(hole) & mask {
                self.index[hole] = next;
                hole = at;
            }
        }
        self.index[hole] = EMPTY;
        self.slots[slot].id = 0;
        self.slots[slot].held = u32::from(self.free);
        self.free = slot as u16;
        self.live -= 1;
        Some(stream)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(id: u32) -> Stream {
        Stream {
            id,
            receiving: Half::Body,
            sending: Half::Head,
            flags: 0,
            priority: 0,
            send_window: 0,
            receive_window: 0,
            held: 0,
            consumed: 0,
            expected: 0,
            left: 0,
        }
    }

    #[test]
    fn streams_are_small() {
        assert!(size_of::<Stream>() <= 48, "{}", size_of::<Stream>());
    }

    /// Compares with a set; the identifiers collide in the index.
    #[test]
    fn what_was_inserted_and_not_removed_is_there() {
        let (mut streams, mut model) = (Streams::default(), std::collections::BTreeSet::new());
        let mut seed = 1_u32;
        for _ in 0..100_000 {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let id = (seed >> 16) % 200 * 16 + 1;
            if model.remove(&id) {
                assert_eq!(streams.remove(id).map(|stream| stream.id), Some(id));
            } else if model.len() < 60 {
                model.insert(id);
                streams.insert(stream(id));
            }
            assert_eq!(streams.len() as usize, model.len());
            let probe = (seed >> 20) % 200 * 16 + 1;
            assert_eq!(streams.get(probe).is_some(), model.contains(&probe), "{probe}");
        }
        let mut ids: Vec<_> = streams.iter().map(|stream| stream.id).collect();
        ids.sort_unstable();
        assert_eq!(ids, model.into_iter().collect::<Vec<_>>());
        assert!(streams.others.is_some_and(|open| open.slots.len() <= 60));
    }
}
