//! JSON as applications send it: repeated names, varying values.

use std::fmt::Write;

use crate::random::Xorshift;

/// Bytes of each message.
pub const LEN: usize = 1024;
/// The number of messages, all different: more than any window holds.
const MESSAGES: usize = 256;

const WORDS: [&str; 40] = [
    "amber", "anchor", "basil", "beacon", "birch", "cedar", "cobalt", "copper", "coral", "delta", "ember", "fable",
    "falcon", "fern", "flint", "garnet", "glacier", "harbor", "hazel", "indigo", "ivory", "jasper", "juniper",
    "kestrel", "lagoon", "linden", "maple", "marble", "meadow", "nickel", "ochre", "onyx", "orchid", "pebble",
    "quartz", "raven", "saffron", "thistle", "umber", "willow",
];

/// The messages, identical in every run.
pub fn messages() -> Vec<String> {
    let mut random = Xorshift::default();
    (0..MESSAGES).map(|number| message(number, &mut random)).collect()
}

fn message(number: usize, random: &mut Xorshift) -> String {
    let mut json = format!(
        "{{\"type\":\"order.updated\",\"sequence\":{},\"at\":\"2026-03-{:02}T{:02}:{:02}:{:02}.{:03}Z\",\"items\":[",
        900_000 + number * 7,
        1 + random.below(28),
        random.below(24),
        random.below(60),
        random.below(60),
        random.below(1000)
    );
    loop {
        let mut item = format!(
            "{{\"id\":\"{:08x}-{:04x}\",\"name\":\"{} {}\",\"quantity\":{},\"price\":{}.{:02},\"tags\":[",
            random.below(u32::MAX as usize),
            random.below(65536),
            word(random),
            word(random),
            1 + random.below(40),
            random.below(900),
            random.below(100)
        );
        for at in 0..random.below(4) {
            let comma = if at > 0 { "," } else { "" };
            let _ = write!(item, "{comma}\"{}\"", word(random));
        }
        let _ = write!(item, "],\"available\":{}}}", random.below(5) > 0);
        // The last field fills the rest.
        let rest = "],\"note\":\"\"}".len();
        if json.len() + item.len() + 1 + rest > LEN {
            json.push_str("],\"note\":\"");
            while json.len() < LEN - 2 {
                json.push_str(word(random));
                json.push(' ');
            }
            json.truncate(LEN - 2);
            json.push_str("\"}");
            return json;
        }
        if !json.ends_with('[') {
            json.push(',');
        }
        json.push_str(&item);
    }
}

fn word(random: &mut Xorshift) -> &'static str {
    WORDS[random.below(WORDS.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_of_one_length_and_none_is_like_another() {
        let messages = messages();
        assert!(messages.iter().all(|message| message.len() == LEN));
        let different: std::collections::HashSet<_> = messages.iter().collect();
        assert_eq!(different.len(), MESSAGES);
    }
}
