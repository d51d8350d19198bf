//! Thousands of redirected and pooled requests against a server with faults on a seed, which counts what arrives: nothing that is not
//! idempotent arrives twice, and every answer is the right one or an error.
//!
//! `CLIENT_REQUESTS` (default 1,500) and `CLIENT_SEED` choose the load.

mod common;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use common::{Answer, Arrived, Peer, clients, with};
use http_client::{Error, http::StatusCode};

/// Numbers from a seed (SplitMix64).
struct Dice(AtomicU64);

impl Dice {
    fn roll(&self, sides: u64) -> u64 {
        let mut x = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (x ^ (x >> 31)) % sides
    }
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|value| value.parse().ok())
        .unwrap_or(default)
}

/// Answers with the id of the request, or misbehaves.
fn answer(dice: &Dice, arrived: &Arrived) -> Answer {
    let id = arrived
        .target
        .trim_start_matches("/moved")
        .trim_start_matches('/')
        .to_owned();
    let good = || {
        if arrived.target.starts_with("/moved") {
            let status = if dice.roll(2) == 0 { "307 Moved" } else { "302 Moved" };
            return with(status, &[("Location", &format!("/{id}"))], "elsewhere");
        }
        with("200 OK", &[("X-Method", &arrived.method)], &id)
    };
    let cut = |answer: Answer, at: usize| (answer.0[..at.min(answer.0.len())].to_vec(), false);
    match dice.roll(20) {
        // Closed without an answer, after the request was read.
        0 => (Vec::new(), false),
        // Cut somewhere.
        1 => cut(good(), usize::try_from(dice.roll(60)).unwrap()),
        // Closed after the answer, announced or not.
        2 => (good().0, false),
        3 => {
            let mut closing = good();
            closing
                .0
                .splice(15..15, b" OK\r\nConnection: close\r\nX-Rest:".iter().copied());
            (closing.0, false)
        }
        // In two parts with a pause, which the caller of this function cannot make; so a pause alone.
        4 => {
            std::thread::sleep(Duration::from_millis(dice.roll(4)));
            good()
        }
        5 => (b"HTTP/1.1 nonsense\r\n\r\n".to_vec(), false),
        _ => good(),
    }
}

#[test]
fn nothing_is_sent_twice_that_must_not_be() {
    let (requests, seed) = (number("CLIENT_REQUESTS", 1500), number("CLIENT_SEED", 1));
    for (driver, client) in clients(|settings| {
        settings.pool.per_origin = 16;
        settings.timeouts.answer = Some(Duration::from_secs(20));
    }) {
        let dice = Arc::new(Dice(AtomicU64::new(seed)));
        let theirs = Arc::clone(&dice);
        let peer = Peer::start(move |arrived| answer(&theirs, arrived));
        let (done, results) = mpsc::channel::<(u64, Result<String, Error>)>();
        let under_way = Arc::new((Mutex::new(0_u64), std::sync::Condvar::new()));
        let (mine, url) = (Arc::clone(&under_way), peer.url(""));
        let load = std::thread::spawn(move || {
            for id in 0..requests {
                let posts = dice.roll(3) == 0;
                let path = if dice.roll(4) == 0 { "/moved/" } else { "/" };
                let to = format!("{url}{path}{id}");
                let request = if posts {
                    client.post(to).body("once")
                } else {
                    client.get(to)
                };
                {
                    let (count, room) = &*mine;
                    let mut count = room.wait_while(count.lock().unwrap(), |count| *count >= 48).unwrap();
                    *count += 1;
                }
                let (done, mine) = (done.clone(), Arc::clone(&mine));
                request.fetch(move |answer| {
                    let text = answer.map(|answer| {
                        assert_eq!(answer.status(), StatusCode::OK);
                        String::from_utf8_lossy(answer.body()).into_owned()
                    });
                    *mine.0.lock().unwrap() -= 1;
                    mine.1.notify_one();
                    done.send((id, text)).unwrap();
                });
            }
            client
        });
        let (mut answered, mut failed) = (0, 0);
        for (id, outcome) in results.iter().take(usize::try_from(requests).unwrap()) {
            match outcome {
                Ok(text) => {
                    assert_eq!(text, id.to_string(), "{driver}");
                    answered += 1;
                }
                Err(Error::Closed { .. } | Error::Protocol(_)) => failed += 1,
                Err(other) => panic!("{driver} {id}: {other}"),
            }
        }
        let client = load.join().unwrap();
        let mut posts: HashMap<String, usize> = HashMap::new();
        for arrived in peer.log() {
            if arrived.method == "POST" {
                assert_eq!(arrived.body, b"once", "{driver}");
                *posts.entry(arrived.target).or_default() += 1;
            }
        }
        assert!(
            posts.values().all(|&times| times == 1),
            "{driver}: a POST has arrived twice"
        );
        assert!(
            answered > requests * 3 / 4 && failed > 0,
            "{driver}: {answered} answered, {failed} failed"
        );
        let arrived = peer.log().len() as u64;
        println!("{driver}: {requests} requests, {answered} answered, {failed} failed, {arrived} arrived");
        assert_eq!(client.counts().2, 0);
    }
}
