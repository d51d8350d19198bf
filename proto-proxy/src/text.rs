//! Addresses and ports in text form, parsed byte by byte, so that the first invalid byte is refused.

use core::net::{Ipv4Addr, Ipv6Addr};

/// A byte that is invalid at its place.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Wrong;

/// A decimal number without leading zeros.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Number {
    value: u32,
    digits: u8,
}

impl Number {
    /// Takes the next digit of a number of at most `most`.
    pub(crate) fn push(&mut self, byte: u8, most: u32) -> Result<(), Wrong> {
        let leading_zero = self.digits > 0 && self.value == 0;
        if !byte.is_ascii_digit() || leading_zero {
            return Err(Wrong);
        }
        let value = self.value * 10 + u32::from(byte - b'0');
        if value > most {
            return Err(Wrong);
        }
        self.value = value;
        self.digits += 1;
        Ok(())
    }

    /// The number, if it has a digit.
    pub(crate) fn finish(self) -> Result<u32, Wrong> {
        if self.digits == 0 { Err(Wrong) } else { Ok(self.value) }
    }
}

/// An IPv4 address: four decimal numbers with dots between them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ipv4Text {
    octets: [u8; 4],
    done: u8,
    number: Number,
}

impl Ipv4Text {
    pub(crate) fn push(&mut self, byte: u8) -> Result<(), Wrong> {
        if byte != b'.' {
            return self.number.push(byte, 255);
        }
        if self.done == 3 {
            return Err(Wrong);
        }
        self.end_number()
    }

    pub(crate) fn finish(mut self) -> Result<Ipv4Addr, Wrong> {
        self.end_number()?;
        if self.done == 4 {
            Ok(Ipv4Addr::from(self.octets))
        } else {
            Err(Wrong)
        }
    }

    fn end_number(&mut self) -> Result<(), Wrong> {
        let octet = u8::try_from(self.number.finish()?).map_err(|_| Wrong)?;
        *self.octets.get_mut(usize::from(self.done)).ok_or(Wrong)? = octet;
        self.done += 1;
        self.number = Number::default();
        Ok(())
    }
}

/// An IPv6 address: groups of up to four hexadecimal digits, at most one `::`, and optionally an IPv4 address in the place of the last two
/// groups (RFC 4291 section 2.2), as systems write mapped addresses.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ipv6Text {
    groups: [u16; 8],
    /// Complete groups.
    done: u8,
    /// The number of groups before the `::`.
    gap: Option<u8>,
    /// The current group, and its number of digits.
    group: u16,
    digits: u8,
    /// The last byte was a colon that ended a group, or the first byte of the address: something must follow.
    after_colon: bool,
    /// The IPv4 address at the end, once it has a dot.
    tail: Option<Ipv4Text>,
}

impl Ipv6Text {
    pub(crate) fn push(&mut self, byte: u8) -> Result<(), Wrong> {
        if let Some(tail) = &mut self.tail {
            return tail.push(byte);
        }
        match byte {
            b':' => self.colon(),
            b'.' => self.dot(),
            _ => self.digit(byte),
        }
    }

    pub(crate) fn finish(mut self) -> Result<Ipv6Addr, Wrong> {
        if let Some(tail) = self.tail {
            let [a, b, c, d] = tail.finish()?.octets();
            self.end_group(u16::from_be_bytes([a, b]))?;
            self.end_group(u16::from_be_bytes([c, d]))?;
        } else if self.digits > 0 {
            self.end_group(self.group)?;
        } else if self.after_colon {
            return Err(Wrong);
        }
        let done = usize::from(self.done);
        let mut groups = self.groups;
        match self.gap {
            Some(gap) => {
                // The groups behind the `::` move to the end.
                let gap = usize::from(gap);
                groups = [0; 8];
                let (before, behind) = self
                    .groups
                    .get(..done)
                    .ok_or(Wrong)?
                    .split_at_checked(gap)
                    .ok_or(Wrong)?;
                groups.get_mut(..gap).ok_or(Wrong)?.copy_from_slice(before);
                groups.get_mut(8 - behind.len()..).ok_or(Wrong)?.copy_from_slice(behind);
            }
            None if done < 8 => return Err(Wrong),
            None => {}
        }
        Ok(Ipv6Addr::from(groups))
    }

    /// The most groups that may be written: `::` stands for at least one.
    fn most(&self) -> u8 {
        if self.gap.is_some() { 7 } else { 8 }
    }

    fn digit(&mut self, byte: u8) -> Result<(), Wrong> {
        let value = char::from(byte).to_digit(16).ok_or(Wrong)?;
        let single_colon = self.after_colon && self.done == 0 && self.gap.is_none();
        if self.digits == 4 || self.done == self.most() || single_colon {
            return Err(Wrong);
        }
        self.group = (self.group << 4) | u16::try_from(value).map_err(|_| Wrong)?;
        self.digits += 1;
        self.after_colon = false;
        Ok(())
    }

    fn colon(&mut self) -> Result<(), Wrong> {
        if self.digits > 0 {
            // Nothing may follow the last group.
            if self.done + 1 == self.most() {
                return Err(Wrong);
            }
            self.end_group(self.group)?;
            (self.group, self.digits, self.after_colon) = (0, 0, true);
        } else if self.after_colon {
            if self.gap.is_some() {
                return Err(Wrong);
            }
            self.gap = Some(self.done);
            self.after_colon = false;
        } else if self.done == 0 && self.gap.is_none() {
            self.after_colon = true;
        } else {
            return Err(Wrong);
        }
        Ok(())
    }

    /// A dot: the current group is the first number of an IPv4 address.
    fn dot(&mut self) -> Result<(), Wrong> {
        let fits = match self.gap {
            Some(_) => self.done <= 5,
            None => self.done == 6,
        };
        if self.digits == 0 || !fits {
            return Err(Wrong);
        }
        let mut tail = Ipv4Text::default();
        for at in (0..self.digits).rev() {
            let digit = u8::try_from((self.group >> (4 * at)) & 0xf).map_err(|_| Wrong)?;
            tail.push(if digit < 10 { b'0' + digit } else { b'a' })?;
        }
        tail.push(b'.')?;
        self.tail = Some(tail);
        Ok(())
    }

    fn end_group(&mut self, group: u16) -> Result<(), Wrong> {
        *self.groups.get_mut(usize::from(self.done)).ok_or(Wrong)? = group;
        self.done += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use core::net::{Ipv4Addr, Ipv6Addr};
    use std::string::ToString;

    use proptest::prelude::*;

    use super::{Ipv4Text, Ipv6Text};

    fn v4(text: &str) -> Option<Ipv4Addr> {
        let mut reader = Ipv4Text::default();
        text.bytes().try_for_each(|byte| reader.push(byte)).ok()?;
        reader.finish().ok()
    }

    fn v6(text: &str) -> Option<Ipv6Addr> {
        let mut reader = Ipv6Text::default();
        text.bytes().try_for_each(|byte| reader.push(byte)).ok()?;
        reader.finish().ok()
    }

    /// Whether `text` can be continued to a valid address: checks that each refusal is correct.
    fn can_go_on(text: &str) -> bool {
        let rests = [
            "",
            "0",
            ":",
            "::",
            "0::",
            "0:",
            ":0",
            "1.1.1",
            "1.1",
            "1",
            ".1",
            ".1.1",
            ".1.1.1",
            "0:1.1.1.1",
            "1.1.1.1",
            ":1.1.1.1",
            "::1.1.1.1",
        ];
        let zeros = (0..8).flat_map(|n| [":0".repeat(n), "0:".repeat(n) + "0"]);
        rests
            .iter()
            .any(|rest| (text.to_string() + rest).parse::<Ipv6Addr>().is_ok())
            || zeros
                .into_iter()
                .any(|rest| (text.to_string() + &rest).parse::<Ipv6Addr>().is_ok())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn ipv4_is_what_the_standard_library_reads(text in "[0-9.]{0,16}|([0-9]{1,4}\\.){3}[0-9]{1,4}|(2[0-9]{2}\\.){3}[0-9]") {
            prop_assert_eq!(v4(&text), text.parse().ok());
        }

        #[test]
        fn ipv6_is_what_the_standard_library_reads(
            text in "[0-9a-fA-F:.]{0,24}|([0-9a-f]{0,4}:){0,8}[0-9a-f]{0,5}|([0-9a-f]{0,4}:){0,7}([0-9]{1,3}\\.){3}[0-9]{1,3}"
        ) {
            prop_assert_eq!(v6(&text), text.parse().ok());
        }

        #[test]
        fn no_byte_is_refused_too_early_or_too_late(
            text in "[0-9a-f:.]{0,8}|([0-9a-f]{0,4}:){0,8}[0-9a-f]{0,5}|([0-9a-f]{0,2}:){0,7}[0-9]{1,3}(\\.[0-9]{1,3}){0,3}"
        ) {
            let mut reader = Ipv6Text::default();
            for (at, byte) in text.bytes().enumerate() {
                let taken = reader.push(byte).is_ok();
                prop_assert_eq!(taken, can_go_on(&text[..=at]), "{}", &text[..=at]);
                if !taken {
                    break;
                }
            }
        }

        #[test]
        fn every_address_reads_back(v4_bits: u32, groups in prop::array::uniform8(prop_oneof![Just(0_u16), any::<u16>()])) {
            let address = Ipv4Addr::from(v4_bits);
            prop_assert_eq!(v4(&address.to_string()), Some(address));
            let address = Ipv6Addr::from(groups);
            prop_assert_eq!(v6(&address.to_string()), Some(address));
            prop_assert_eq!(v6(&address.to_string().to_uppercase()), Some(address));
        }
    }
}
