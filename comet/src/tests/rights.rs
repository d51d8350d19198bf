//! Rights and their expiry.

use serde_json::json;

use super::websocket::subscribe;
use super::{Rig, SECRET, offsets};
use crate::channel::Pattern;
use crate::token::{Claims, Date, Secret};

/// A token to read these channels, valid for this time.
fn token(channels: &[&str], milliseconds: u64) -> String {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    let claims = Claims {
        expires: Some(Date(now + std::time::Duration::from_millis(milliseconds))),
        subscribe: channels
            .iter()
            .map(|channel| Pattern::try_from((*channel).to_owned()).unwrap())
            .collect(),
        ..Claims::default()
    };
    Secret::new(SECRET).unwrap().sign(&claims)
}

const ROOMS: &str = "[[channel]]\nname = \"*\"\nsubscribe = \"token\"\npresence = true";

fn rooms() -> Rig {
    Rig::new(&format!("api_token = \"let-me-in\"\nsecret = {SECRET:?}\n{ROOMS}"))
}

#[test]
fn c05_what_is_published_after_the_end_of_a_token_is_not_told() {
    let rig = rooms();
    let mut client = rig.client(&format!("?token={}", token(&["a"], 300)));
    subscribe(&mut client, "a");
    rig.publish("a", "1");
    assert_eq!(offsets(&client.all()), [1]);
    std::thread::sleep(std::time::Duration::from_millis(320));
    // The timer has not fired, but publications are no longer delivered.
    rig.publish("a", "2");
    assert_eq!(client.all(), [json!({"close":1008})]);
    assert_eq!(rig.node.channels(), []);
}

#[test]
fn c05_an_idle_connection_ends_with_its_token() {
    let rig = rooms();
    rig.node.start().unwrap();
    let mut client = rig.client(&format!("?token={}", token(&["a"], 300)));
    subscribe(&mut client, "a");
    assert_eq!(client.next(), None);
    std::thread::sleep(std::time::Duration::from_millis(400));
    // The node's timer has fired.
    assert_eq!(client.all(), [json!({"close":1008})]);
    // A longer token replaces one that expires.
    let mut client = rig.client(&format!("?token={}", token(&["a"], 300)));
    let better = token(&["a"], 60_000);
    client.ask(&format!(r#"{{"type":"auth","token":"{better}"}}"#));
    subscribe(&mut client, "a");
    std::thread::sleep(std::time::Duration::from_millis(400));
    rig.publish("a", "2");
    assert_eq!(offsets(&client.all()).len(), 1);
}

#[test]
fn c03_fewer_rights_end_subscriptions() {
    let rig = rooms();
    let mut client = rig.client(&format!("?token={}", token(&["a", "b"], 60_000)));
    subscribe(&mut client, "a");
    subscribe(&mut client, "b");
    let less = token(&["b"], 60_000);
    let answer = client.ask(&format!(r#"{{"type":"auth","id":"x","token":"{less}"}}"#));
    let left = answer["expires_in"].as_u64();
    assert!(left.is_some_and(|left| (50..=60).contains(&left)), "{answer}");
    assert_eq!(answer, json!({"type":"authorized","id":"x","expires_in":left}));
    assert_eq!(
        client.hear(),
        json!({"type":"unsubscribed","channel":"a","code":"forbidden"})
    );
    rig.publish("a", "1");
    rig.publish("b", "2");
    let heard = client.all();
    assert_eq!((heard.len(), &heard[0]["channel"]), (1, &json!("b")));
}
