//! Channels that begin with their latest publication.

use serde_json::{Value, json};

use super::{Client, Rig, answer, offsets, settings};
use crate::settings::{Options, Settings};

const RULES: &str = r#"
    api_token = "let-me-in"
    [[channel]]
    name = "state:*"
    latest = true
    history = 3
    [[channel]]
    name = "*"
"#;

fn subscribed(client: &mut Client, channel: &str, more: &str) -> (Vec<u64>, Value) {
    let answer = client.ask(&format!(r#"{{"type":"subscribe","id":1,"channel":"{channel}"{more}}}"#));
    assert_eq!(answer["type"], "subscribed", "{answer}");
    (
        offsets(answer["publications"].as_array().unwrap()),
        answer["recovered"].clone(),
    )
}

#[test]
fn new_subscribers_get_the_latest_publication() {
    let rig = Rig::new(RULES);
    for channel in ["state:empty", "other"] {
        assert_eq!(
            subscribed(&mut rig.client(""), channel, ""),
            (vec![], Value::Null),
            "{channel}"
        );
    }
    for number in 1..=5 {
        rig.publish("state:a", &number.to_string());
        rig.publish("other", &number.to_string());
    }
    let latest = Value::Null;
    let first = rig.client("").ask(r#"{"type":"subscribe","channel":"state:a"}"#);
    let epoch = first["epoch"].as_str().unwrap();
    for (more, expected) in [
        (String::new(), (vec![5], latest.clone())),
        (r#","limit":0"#.to_owned(), (vec![5], latest.clone())),
        (r#","limit":2"#.to_owned(), (vec![4, 5], latest.clone())),
        // Whoever has a position goes on there.
        (format!(r#","epoch":"{epoch}","offset":5"#), (vec![], json!(true))),
        (format!(r#","epoch":"{epoch}","offset":3"#), (vec![4, 5], json!(true))),
        (
            format!(r#","epoch":"{epoch}","offset":1"#),
            (vec![3, 4, 5], json!(false)),
        ),
        // Nothing has been seen.
        (r#","epoch":"0","offset":0"#.to_owned(), (vec![5], latest)),
    ] {
        assert_eq!(subscribed(&mut rig.client(""), "state:a", &more), expected, "{more}");
    }
    assert_eq!(subscribed(&mut rig.client(""), "other", "").0, [0_u64; 0]);
    // And what follows.
    let mut client = rig.client("");
    subscribed(&mut client, "state:a", "");
    rig.publish("state:a", "6");
    assert_eq!(client.hear()["offset"], 6);
}

#[test]
fn so_do_readers_of_events() {
    let rig = Rig::new(RULES);
    for number in 1..=2 {
        rig.publish("state:a", &number.to_string());
    }
    let read = |fields: &str| {
        let mut reader = rig.connect();
        reader.receive(format!("GET /events?channel=state:a HTTP/1.1\r\nHost: a\r\n{fields}\r\n").as_bytes());
        let (_, body) = answer(&reader.take_sent());
        body.matches("\ndata: ").count()
    };
    assert_eq!((read(""), read("Last-Event-ID: 100:2\r\n")), (1, 0));
}

#[test]
fn so_do_clients_of_centrifugo() {
    let rig = Rig::new(RULES);
    for number in 1..=2 {
        rig.publish("state:a", &number.to_string());
    }
    for more in [
        json!({}),
        json!({"recover": true}),
        json!({"recover": true, "epoch": "", "offset": 0}),
    ] {
        let mut client = super::centrifugo::connected(&rig, "");
        let mut asked = more;
        asked["channel"] = json!("state:a");
        let answer = client.ask(&json!({"id": 2, "subscribe": asked}).to_string());
        let subscribed = &answer["subscribe"];
        assert_eq!(
            (&subscribed["publications"], &subscribed["offset"]),
            (&json!([{"data": 2, "offset": 2}]), &json!(2)),
            "{answer}"
        );
    }
}

#[test]
fn without_history_there_is_none() {
    let options: Options =
        toml::from_str("[[channel]]\nname = 'a'\nlatest = true\nhistory = 0\nslow = 'skip'").unwrap();
    let problems = Settings::new(options).unwrap_err();
    assert!(
        format!("{problems:?}").contains("no latest publication"),
        "{problems:?}"
    );
    assert!(
        settings("[[channel]]\nname = 'a'\nlatest = true\nhistory = 1")
            .rules
            .of(&"a".parse().unwrap())
            .unwrap()
            .latest
    );
}
