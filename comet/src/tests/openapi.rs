//! The description of the API holds for the server: its examples are carried out, and the answers checked against their schemas.

use serde_json::{Value, json};

use super::Rig;
use super::api::{call, get};
use super::websocket::subscribe;

const TEXT: &str = include_str!("../../openapi.json");

/// What of `value` does not fit `schema`.
fn misfit(document: &Value, schema: &Value, value: &Value, at: &str) -> Option<String> {
    if let Some(name) = schema["$ref"].as_str() {
        let known = document.pointer(name.trim_start_matches('#'));
        return misfit(document, known.unwrap_or_else(|| panic!("{name}")), value, at);
    }
    if let Some(several) = schema["oneOf"].as_array() {
        let fit = several
            .iter()
            .filter(|one| misfit(document, one, value, at).is_none())
            .count();
        return (fit != 1).then(|| format!("{at}: {fit} of the schemas fit {value}"));
    }
    let is_of_type = match schema["type"].as_str() {
        None => true,
        Some("string") => value.is_string(),
        Some("integer") => value.is_u64(),
        Some("boolean") => value.is_boolean(),
        Some("array") => value.is_array(),
        Some("object") => value.is_object(),
        Some(other) => panic!("{at}: the type {other}"),
    };
    if !is_of_type {
        return Some(format!("{at}: {value} is not a {}", schema["type"]));
    }
    if schema["enum"].as_array().is_some_and(|known| !known.contains(value)) {
        return Some(format!("{at}: {value} is none of {}", schema["enum"]));
    }
    if let (Some(items), schema) = (value.as_array(), &schema["items"]) {
        let mut items = items.iter().enumerate();
        return items.find_map(|(index, item)| misfit(document, schema, item, &format!("{at}/{index}")));
    }
    let fields = value.as_object()?;
    let required = schema["required"].as_array().into_iter().flatten();
    for name in required.filter_map(Value::as_str) {
        if !fields.contains_key(name) {
            return Some(format!("{at}: {name} is missing in {value}"));
        }
    }
    let is_closed = schema["additionalProperties"] == json!(false);
    fields
        .iter()
        .find_map(|(name, value)| match &schema["properties"][name] {
            Value::Null if is_closed => Some(format!("{at}: {name} is not described")),
            Value::Null => None,
            schema => misfit(document, schema, value, &format!("{at}/{name}")),
        })
}

#[test]
fn the_description_holds() {
    let document: Value = serde_json::from_str(TEXT).unwrap();
    let rig = Rig::new(super::http::SITE);
    rig.node.start().unwrap();
    subscribe(&mut rig.client(""), "news");
    rig.publish("news", "1");
    rig.node.look_after(std::time::Instant::now());
    assert_eq!(get(&rig, "/api/openapi.json"), (200, document.clone()));
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, described) in methods.as_object().unwrap() {
            let (status, answer) = if method == "post" {
                let content = &described["requestBody"]["content"]["application/json"];
                assert_eq!(misfit(&document, &content["schema"], &content["example"], path), None);
                call(&rig, path, &content["example"])
            } else {
                let parameters = described["parameters"].as_array().unwrap().iter();
                let query: Vec<_> = parameters
                    .filter_map(|one| match &one["example"] {
                        Value::Null => None,
                        Value::String(text) => Some(format!("{}={text}", one["name"].as_str()?)),
                        other => Some(format!("{}={other}", one["name"].as_str()?)),
                    })
                    .collect();
                get(&rig, &format!("{path}?{}", query.join("&")))
            };
            assert_eq!(status, 200, "{path}: {answer}");
            let schema = &described["responses"]["200"]["content"]["application/json"]["schema"];
            assert_eq!(misfit(&document, schema, &answer, path), None);
            // The other method, and no token: refused as described.
            let other = if method == "post" { "GET" } else { "POST" };
            for (method, token, status) in [(other, "let-me-in", 405), (method.as_str(), "x", 401)] {
                let (method, end) = (method.to_uppercase(), "Content-Length: 0\r\n\r\n");
                let (given, body) = rig.ask(&format!(
                    "{method} {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n{end}"
                ));
                let failure = &document["components"]["schemas"]["Failure"];
                let body = serde_json::from_str(&body).unwrap();
                assert_eq!((given, misfit(&document, failure, &body, path)), (status, None));
            }
        }
    }
    // Every call of the server is described.
    let paths = &document["paths"];
    for path in crate::web::API_PATHS.iter().copied().flatten() {
        assert!(paths[path].is_object(), "{path} is not described");
    }
    // Every code of a failure is described.
    let codes = &document["components"]["schemas"]["Failure"]["properties"]["code"]["enum"];
    for code in crate::messages::Code::ALL {
        assert!(
            codes.as_array().unwrap().contains(&json!(code)),
            "{code:?} is not described"
        );
    }
}

#[test]
fn the_check_finds_what_does_not_fit() {
    let document: Value = serde_json::from_str(TEXT).unwrap();
    let schema = json!({"$ref": "#/components/schemas/History"});
    let good = json!({"channel": "a", "epoch": "1", "offset": 1, "publications": [{"offset": 1, "data": null}]});
    assert_eq!(misfit(&document, &schema, &good, ""), None);
    for (path, value) in [
        ("/offset", json!("1")),
        ("/publications/0", json!({"offset": 1})),
        ("/publications/0", json!({"offset": 1, "data": 1, "more": 1})),
        ("/publications", json!({})),
    ] {
        let mut bad = good.clone();
        *bad.pointer_mut(path).unwrap() = value;
        assert!(misfit(&document, &schema, &bad, "").is_some(), "{bad}");
    }
}
