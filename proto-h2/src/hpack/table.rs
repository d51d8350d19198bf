//! The dynamic table (RFC 7541 section 2.3.2). Entries are stored as field lines, one behind the other, so that an indexed field is a
//! single copy.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::fixed::Token;

/// Bytes that an entry counts in addition to its name and value (RFC 7541 section 4.1).
pub(crate) const OVERHEAD: usize = 32;

/// The largest possible table: name and value lengths have 16 bits.
pub(crate) const LARGEST: u32 = 65_535;

/// One entry. Its line is `name: value\r\n`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Offset of the line, counted from the first line ever stored.
    start: u32,
    pub(crate) name: u16,
    pub(crate) value: u16,
    /// The hash by which an encoder finds the entry.
    pub(crate) hash: u16,
    pub(crate) token: Token,
    /// Whether HTTP allows the field (RFC 9113 section 8.2.1).
    pub(crate) valid: bool,
}

impl Entry {
    const fn line(&self) -> usize {
        self.name as usize + self.value as usize + 4
    }

    /// The entry's size in the table and in a field section.
    #[inline]
    pub(crate) const fn size(&self) -> usize {
        self.name as usize + self.value as usize + OVERHEAD
    }
}

/// The dynamic table of one direction.
#[derive(Debug, Default)]
pub(crate) struct Table {
    /// Lines; those of evicted entries are in front.
    lines: Vec<u8>,
    /// The offset at which `lines` begins.
    base: u32,
    /// The newest first.
    entries: VecDeque<Entry>,
    size: u32,
    max: u32,
}

impl Table {
    /// An empty table for up to `max` bytes, counted as RFC 7541 section 4.1 does. Allocates nothing.
    pub(crate) fn new(max: u32) -> Self {
        Self {
            max: max.min(LARGEST),
            ..Self::default()
        }
    }

    #[inline]
    pub(crate) fn max(&self) -> u32 {
        self.max
    }

    /// The entries, newest first.
    #[inline]
    pub(crate) fn entries(&self) -> &VecDeque<Entry> {
        &self.entries
    }

    #[inline]
    pub(crate) fn get(&self, place: usize) -> Option<(&Entry, &[u8])> {
        let entry = self.entries.get(place)?;
        Some((entry, self.line(entry)))
    }

    /// The place of the newest entry with this name, ignoring ASCII case, and this value.
    #[inline]
    pub(crate) fn find(&self, name: &[u8], value: &[u8], hash: u16) -> Option<usize> {
        let is = |entry: &Entry| {
            let line = self.line(entry);
            usize::from(entry.name) == name.len()
                && line.get(name.len() + 2..line.len().saturating_sub(2)) == Some(value)
                && line
                    .get(..name.len())
                    .is_some_and(|own| crate::class::is_same(name, own))
        };
        let (front, back) = self.entries.as_slices();
        let place = front.iter().position(|entry| entry.hash == hash && is(entry));
        let behind = || back.iter().position(|entry| entry.hash == hash && is(entry));
        place.or_else(|| behind().map(|place| front.len() + place))
    }

    #[inline]
    pub(crate) fn line(&self, entry: &Entry) -> &[u8] {
        let start = entry.start.wrapping_sub(self.base) as usize;
        self.lines.get(start..start + entry.line()).unwrap_or_default()
    }

    /// Changes the table's size, and evicts entries beyond it (RFC 7541 section 4.3).
    pub(crate) fn resize(&mut self, max: u32) {
        self.max = max.min(LARGEST);
        self.evict(self.max);
        if self.entries.is_empty() {
            self.lines = Vec::new();
            self.entries = VecDeque::new();
        }
    }

    /// Frees memory that the entries do not need.
    pub(crate) fn give_back(&mut self) {
        self.lines.shrink_to_fit();
        self.entries.shrink_to_fit();
    }

    fn evict(&mut self, until: u32) {
        while self.size > until
            && let Some(entry) = self.entries.pop_back()
        {
            self.size -= entry.size() as u32;
        }
    }

    /// Adds the field of `line`, whose name has `name` bytes. A field larger than the table empties it (RFC 7541 section 4.4).
    pub(crate) fn insert(&mut self, line: &[u8], name: usize, token: Token, valid: bool) {
        if self.make_room(name, line.len().saturating_sub(name + 4), token, valid, 0) {
            self.lines.extend_from_slice(line);
        }
    }

    /// Adds a field for an encoder, with its name in small letters.
    pub(crate) fn insert_parts(&mut self, name: &[u8], value: &[u8], token: Token, hash: u16) {
        if self.make_room(name.len(), value.len(), token, true, hash) {
            let start = self.lines.len();
            self.lines.extend_from_slice(name);
            self.lines.get_mut(start..).unwrap_or_default().make_ascii_lowercase();
            self.lines.extend_from_slice(b": ");
            self.lines.extend_from_slice(value);
            self.lines.extend_from_slice(b"\r\n");
        }
    }

    /// Makes room for another entry, in growing steps: few connections have more than two entries, and a browser adds its many entries
    /// together.
    #[inline]
    fn reserve(&mut self, line: usize) {
        if self.lines.capacity() - self.lines.len() < line {
            let more = line.max(self.lines.capacity() * 2).max(80);
            self.lines.reserve_exact(more);
        }
        if self.entries.len() == self.entries.capacity() {
            self.entries.reserve_exact((self.entries.len() * 2).max(2));
        }
    }

    /// Adds an entry; the caller appends its line. Returns false if the entry does not fit.
    fn make_room(&mut self, name: usize, value: usize, token: Token, valid: bool, hash: u16) -> bool {
        let size = name + value + OVERHEAD;
        if size > self.max as usize {
            self.evict(0);
            return false;
        }
        self.evict(self.max - size as u32);
        self.reserve(name + value + 4);
        let live = self
            .entries
            .back()
            .map_or(self.lines.len(), |oldest| oldest.start.wrapping_sub(self.base) as usize);
        // Lines of evicted entries are removed when they are more than half of all lines, so that the cost of each move is amortized.
        if live * 2 > self.lines.len() || self.entries.is_empty() {
            self.lines.drain(..live);
            self.base = self.base.wrapping_add(live as u32);
        }
        let entry = Entry {
            start: self.base.wrapping_add(self.lines.len() as u32),
            name: name as u16,
            value: value as u16,
            hash,
            token,
            valid,
        };
        self.entries.push_front(entry);
        self.size += size as u32;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(table: &Table) -> Vec<String> {
        table
            .entries()
            .iter()
            .map(|entry| String::from_utf8(table.line(entry).to_vec()).unwrap())
            .collect()
    }

    #[test]
    fn the_oldest_go_first_and_memory_stays_bounded() {
        let mut table = Table::new(100);
        for n in 0..10_000 {
            let line = format!("n{n}: v{n}\r\n");
            table.insert(line.as_bytes(), line.find(':').unwrap(), Token::Other, true);
            assert_eq!(names(&table)[0], line);
            assert!(table.entries().len() <= 3 && table.size <= 100);
            assert!(table.lines.len() <= 100, "{}", table.lines.len());
        }
        assert_eq!(names(&table), ["n9999: v9999\r\n", "n9998: v9998\r\n"]);
        table.resize(50);
        assert_eq!(names(&table), ["n9999: v9999\r\n"]);
        let large = format!("n: {}\r\n", "v".repeat(18));
        table.insert(large.as_bytes(), 1, Token::Other, true);
        assert_eq!(table.entries().len(), 0, "an entry larger than the table empties it");
    }
}
