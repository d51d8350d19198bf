//! Where timers are filed: the arithmetic of the levels, and the bitmaps of slots with timers.
//!
//! A slot is a number below [`SLOTS`]: its row times 64 plus its digit. Row 0 has a single slot, [`DUE`]; row `r` from 1 to 11
//! is level `r - 1`, whose slots are `64^(r - 1)` ticks wide. A deadline after `now` is filed in the level of the highest base-64
//! digit in which the two differ, under the deadline's value of that digit. This rule implies:
//!
//! * a slot with timers is always ahead of the cursor: nothing wraps, and the lowest digit of the lowest row always comes first;
//! * until the start of its slot has passed, the place of a deadline does not depend on when it was filed.

/// The list of timers to examine now: the only slot of row 0.
pub(crate) const DUE: u32 = 0;

/// The number of slots, including the 63 unused ones of row 0.
pub(crate) const SLOTS: usize = 64 * ROWS;

/// The due list and eleven levels of 6 bits each, for 64 bits of ticks.
const ROWS: usize = 12;

/// The slot of `deadline` as seen from `now`.
#[inline]
pub(crate) fn place(now: u64, deadline: u64) -> u32 {
    if deadline <= now {
        return DUE;
    }
    let level = ((now ^ deadline) | 1).ilog2() / 6;
    64 * (level + 1) + digit(deadline >> (6 * level))
}

/// The first tick of `slot` as seen from `now`; exact for a slot ahead of `now`. For [`DUE`] it is some tick at or before `now`.
#[inline]
pub(crate) fn start(now: u64, slot: u32) -> u64 {
    let shift = (6 * (slot / 64).saturating_sub(1)) & 63;
    ((now >> shift) & !63 | u64::from(slot % 64)) << shift
}

/// The lowest base-64 digit.
fn digit(ticks: u64) -> u32 {
    (ticks & 63) as u32
}

/// Which slots have timers: a bit per slot, and a bit per row, so that the first one is found in two steps.
#[derive(Clone)]
pub(crate) struct Occupied {
    rows: u32,
    /// As many rows as four bits can number, which saves a bounds check; the last ones are unused.
    slots: [u64; 16],
}

impl Occupied {
    pub(crate) const EMPTY: Self = Self {
        rows: 0,
        slots: [0; 16],
    };

    #[inline]
    pub(crate) fn set(&mut self, slot: u32) {
        self.rows |= 1 << (slot / 64);
        self.slots[(slot / 64 % 16) as usize] |= 1 << (slot % 64);
    }

    #[inline]
    pub(crate) fn unset(&mut self, slot: u32) {
        let row = &mut self.slots[(slot / 64 % 16) as usize];
        *row &= !(1 << (slot % 64));
        if *row == 0 {
            self.rows &= !(1 << (slot / 64));
        }
    }

    /// The earliest occupied slot.
    #[inline]
    pub(crate) fn first(&self) -> Option<u32> {
        let row = self.rows.trailing_zeros();
        let slots = self.slots.get(row as usize)?;
        Some(64 * row + slots.trailing_zeros())
    }

    /// The earliest occupied slot other than the due list.
    #[inline]
    pub(crate) fn ahead(&self) -> Option<u32> {
        let row = (self.rows & !1).trailing_zeros();
        let slots = self.slots.get(row as usize)?;
        Some(64 * row + slots.trailing_zeros())
    }

    /// All occupied slots in the order of time.
    pub(crate) fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        (0..)
            .zip(self.slots)
            .flat_map(|(row, slots)| bits(slots).map(move |digit| 64 * row + digit))
    }
}

/// The positions of the set bits, lowest first.
fn bits(mut set: u64) -> impl Iterator<Item = u32> {
    core::iter::from_fn(move || {
        let bit = set.trailing_zeros();
        (bit < 64).then(|| {
            set &= set - 1;
            bit
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn a_deadline_is_filed_by_the_highest_digit_that_differs() {
        assert_eq!(place(0, 0), DUE);
        assert_eq!(place(9, 8), DUE);
        assert_eq!(place(0, 1), 64 + 1);
        assert_eq!(place(0, 63), 64 + 63);
        assert_eq!(place(0, 64), 128 + 1);
        assert_eq!(place(63, 64), 128 + 1);
        assert_eq!(place(64, 65), 64 + 1);
        assert_eq!(place(0, 4096 * 5 + 7), 192 + 5);
        assert_eq!(place(0, u64::MAX), 64 * 11 + 15);
        assert_eq!(place(u64::MAX - 1, u64::MAX), 64 + 63);
        assert_eq!(place(u64::MAX, u64::MAX), DUE);
    }

    #[test]
    fn a_slot_starts_at_the_deadline_with_the_lower_digits_cut_off() {
        for now in [0, 1, 63, 64, 4095, 1 << 36, u64::MAX / 3, u64::MAX - 64] {
            for bit in 0..64 {
                for deadline in [now | 1 << bit, now.saturating_add(1 << bit), u64::MAX] {
                    let slot = place(now, deadline);
                    let start = start(now, slot);
                    assert!(start <= deadline, "{now} {deadline}");
                    if slot != DUE {
                        assert!(start > now, "{now} {deadline}");
                        assert!(deadline - start <= (deadline - now), "{now} {deadline}");
                    }
                }
            }
        }
    }

    #[test]
    fn the_occupied_slots_come_in_the_order_of_time() {
        let deadlines = [3, 60, 64, 127, 200, 4095, 4096, 300_000, 1 << 40, u64::MAX];
        let mut occupied = Occupied::EMPTY;
        assert_eq!(occupied.first(), None);
        for deadline in deadlines.iter().rev() {
            occupied.set(place(0, *deadline));
            assert_eq!(occupied.first(), Some(place(0, *deadline)));
        }
        occupied.set(DUE);
        assert_eq!(occupied.first(), Some(DUE));
        assert_eq!(occupied.ahead(), Some(64 + 3));
        let slots: Vec<u32> = occupied.iter().collect();
        assert!(slots.is_sorted_by(|&one, &other| one < other && start(0, one) <= start(0, other)));
        for slot in slots {
            assert_eq!(occupied.first(), Some(slot));
            occupied.unset(slot);
        }
        assert_eq!(occupied.first(), None);
        assert_eq!(occupied.ahead(), None);
    }
}
