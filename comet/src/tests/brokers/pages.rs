//! Pages of histories, and the keys of publications.

use super::*;

/// Histories are read in pages, in both directions. Reading a page creates no channel.
pub(super) fn reads_in_pages(node: &Node) {
    let pages = name("pages");
    let keep = Keep {
        publications: 30,
        ..KEEP
    };
    let page = |part, limit| {
        let keep = Keep {
            publications: limit,
            ..keep
        };
        let snapshot = outcome(|done| node.broker.snapshot(&pages, part, keep, done));
        let offsets: Vec<u64> = snapshot.publications.iter().map(|one| one.offset()).collect();
        (snapshot.position.offset, offsets, snapshot.more)
    };
    for part in [Part::Newest, Part::Before(7), Part::After(0)] {
        assert_eq!(page(part, 5), (0, vec![], false), "{part:?}");
    }
    for number in 1..=40 {
        let draft = Draft {
            channel: pages.clone(),
            user: None,
            data: number.to_string().into(),
            key: None,
        };
        outcome(|done| node.broker.publish(draft, keep, done));
    }
    for (part, expected, more) in [
        (Part::Newest, 31..=40, true),
        (Part::Before(31), 21..=30, true),
        (Part::Before(21), 11..=20, false),
        (Part::Before(13), 11..=12, false),
        (Part::Before(u64::MAX), 31..=40, true),
        (Part::After(0), 11..=20, true),
        (Part::After(20), 21..=30, true),
        (Part::After(30), 31..=40, false),
        (Part::After(38), 39..=40, false),
    ] {
        assert_eq!(page(part, 10), (40, expected.collect(), more), "{part:?}");
    }
    for part in [
        Part::Before(0),
        Part::Before(11),
        Part::After(40),
        Part::After(u64::MAX),
    ] {
        assert_eq!(page(part, 10), (40, vec![], false), "{part:?}");
    }
}

/// A key is remembered as long as the history, and a quiet channel is not dropped before its keys.
#[test]
fn keys_are_kept_as_long_as_the_history() {
    use crate::clock::by_hand;
    let begun = Instant::now();
    by_hand::set(Some(begun));
    let node = Node::new(|inbox| Box::new(Memory::new(inbox, 200, 7)));
    let publish = |seconds: u64, keep: Keep| {
        let now = begun + Duration::from_secs(seconds);
        by_hand::set(Some(now));
        node.broker.tick(now);
        let draft = Draft {
            channel: name("keyed"),
            user: None,
            data: "1".into(),
            key: Some("a".into()),
        };
        outcome(|done| node.broker.publish(draft, keep, done))
    };
    let long = Keep {
        time: Duration::from_secs(600),
        ..KEEP
    };
    let first = publish(0, long);
    assert_eq!(publish(599, long), first);
    assert_eq!(publish(601, long).offset, 2);
    // A short history: two minutes, although nothing else is left of the channel.
    let short = Keep {
        time: Duration::from_secs(1),
        ..KEEP
    };
    let first = publish(2000, short);
    assert_eq!(publish(2119, short), first);
    assert_ne!(publish(2121, short), first);
    by_hand::set(None);
}
