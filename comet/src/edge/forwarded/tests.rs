//! The walk over many inputs: what a client has invented never counts.

use super::*;

const PROXY: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));

/// Reads a request with these fields, which came from 10.0.0.1.
fn read(fields: &[(&str, &str)]) -> (Option<String>, Vec<String>, bool) {
    let mut head = "GET / HTTP/1.1\r\nHost: backend\r\n".to_owned();
    for (name, value) in fields {
        head += &format!("{name}: {value}\r\n");
    }
    head += "\r\n";
    let parsed = proto_http::Request::parse(head.as_bytes(), &Default::default()).unwrap();
    let proto_http::Parsed::Complete { head: request, .. } = parsed else {
        panic!("an incomplete head")
    };
    let trusted = ["10.0.0.0/8", "fd00::/8"].map(str::to_owned);
    let trusted = Networks::read(&trusted).unwrap();
    let found = Forwarded::read(&request.fields(), Some(PROXY), &trusted);
    (
        found.client.map(|client| client.to_string()),
        found.hosts.into_iter().map(Cow::into_owned).collect(),
        found.contradicts,
    )
}

fn client(fields: &[(&str, &str)]) -> String {
    let (client, _, contradicts) = read(fields);
    assert!(!contradicts, "{fields:?}");
    client.unwrap()
}

#[test]
fn c10_what_the_client_invented_on_the_left_does_not_count() {
    for (value, expected) in [
        ("192.0.2.1", "192.0.2.1"),
        // What stands on the left of the client is the client's invention.
        ("1.1.1.1, 192.0.2.1", "192.0.2.1"),
        ("10.0.0.9, 192.0.2.1", "192.0.2.1"),
        ("unknown,<script>,192.0.2.1", "192.0.2.1"),
        // Several proxies.
        ("192.0.2.1, 10.0.0.2", "192.0.2.1"),
        ("1.1.1.1,192.0.2.1,10.0.0.2 , 10.0.0.3", "192.0.2.1"),
        ("192.0.2.1, fd00::2, 10.0.0.3", "192.0.2.1"),
        // A client inside the trusted networks.
        ("10.0.0.7", "10.0.0.7"),
        ("10.0.0.7, 10.0.0.8", "10.0.0.7"),
        // Ports, brackets, mapped addresses.
        ("192.0.2.1:4711", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:db8::1]:4711", "2001:db8::1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("192.0.2.1, ::ffff:10.0.0.2", "192.0.2.1"),
        // Empty elements are ignored (RFC 9110 section 5.6.1).
        ("192.0.2.1,, ,10.0.0.2,", "192.0.2.1"),
        // The walk stops at the last good element.
        ("192.0.2.1, unknown", "10.0.0.1"),
        ("192.0.2.1, unknown, 10.0.0.2", "10.0.0.2"),
        ("192.0.2.1, _hidden, 10.0.0.2", "10.0.0.2"),
        ("192.0.2.1 10.0.0.2", "10.0.0.1"),
        ("192.0.2.256", "10.0.0.1"),
        ("192.0.2.1:99999", "10.0.0.1"),
        ("[192.0.2.1]", "10.0.0.1"),
        ("fe80::1%eth0", "10.0.0.1"),
        ("\"192.0.2.1\"", "10.0.0.1"),
        ("", "10.0.0.1"),
    ] {
        assert_eq!(client(&[("X-Forwarded-For", value)]), expected, "{value:?}");
    }
}

#[test]
fn the_standard_field() {
    for (value, expected) in [
        ("for=192.0.2.1", "192.0.2.1"),
        ("For=192.0.2.1;proto=https;by=203.0.113.43", "192.0.2.1"),
        ("proto=http; for=192.0.2.1 ;host=a", "192.0.2.1"),
        ("for=1.1.1.1, for=192.0.2.1", "192.0.2.1"),
        ("for=192.0.2.1, for=10.0.0.2, for=\"[fd00::3]:80\"", "192.0.2.1"),
        ("for=\"[2001:db8:cafe::17]:4711\"", "2001:db8:cafe::17"),
        ("for=\"[2001:db8:cafe::17]\"", "2001:db8:cafe::17"),
        ("for=\"192.0.2.1:4711\"", "192.0.2.1"),
        ("for=\"192.0.2.1:_port\"", "192.0.2.1"),
        ("for=\"192.0.2.\\1\"", "192.0.2.1"),
        ("for=192.0.2.1;ext=\"a,b;for=9.9.9.9\"", "192.0.2.1"),
        (";for=192.0.2.1;,,", "192.0.2.1"),
        // Nobody is named (section 6.2, 6.3).
        ("for=unknown", "10.0.0.1"),
        ("for=_gazonk", "10.0.0.1"),
        ("for=192.0.2.1, for=unknown, for=10.0.0.2", "10.0.0.2"),
        ("for=192.0.2.1, proto=https", "10.0.0.1"),
        // Not the grammar: an IPv6 address without brackets or quotes, doubled parameters, missing parts.
        ("for=\"2001:db8::1\"", "10.0.0.1"),
        ("for=[2001:db8::1]", "10.0.0.1"),
        ("for=192.0.2.1:80", "10.0.0.1"),
        ("for=192.0.2.1;for=192.0.2.2", "10.0.0.1"),
        ("for=192.0.2.1;host=a;host=b", "10.0.0.1"),
        ("for =192.0.2.1", "10.0.0.1"),
        ("for= 192.0.2.1", "10.0.0.1"),
        ("for", "10.0.0.1"),
        ("=192.0.2.1", "10.0.0.1"),
        ("192.0.2.1", "10.0.0.1"),
        ("for=\"192.0.2.1:123456\"", "10.0.0.1"),
        ("for=\"192.0.2.1:_\"", "10.0.0.1"),
        ("for=\"[2001:db8::1\"", "10.0.0.1"),
        ("for=\"[2001:db8::1]x\"", "10.0.0.1"),
        ("for=192.0.2.1 for=192.0.2.2", "10.0.0.1"),
        ("for=\"192.0.2.1", "10.0.0.1"),
        ("", "10.0.0.1"),
    ] {
        assert_eq!(client(&[("Forwarded", value)]), expected, "{value:?}");
    }
}

#[test]
fn c10_an_open_quotation_mark_does_not_hide_what_the_proxy_appends() {
    for invented in ["for=6.6.6.6;x=\"", "for=6.6.6.6, x=\"", "for=6.6.6.6;x=\"\\", "for=\""] {
        for appended in [
            "for=192.0.2.1",
            "for=\"[2001:db8::1]\"",
            "for=\"192.0.2.1:80\";host=\"a,b\"",
        ] {
            let value = format!("{invented}, {appended}");
            assert_eq!(client(&[("Forwarded", &value)]), "10.0.0.1", "{value}");
        }
    }
}

#[test]
fn fields_continue_each_other() {
    let both = |name, first, second| client(&[(name, first), (name, second)]);
    assert_eq!(both("X-Forwarded-For", "1.1.1.1", "192.0.2.1"), "192.0.2.1");
    assert_eq!(both("X-Forwarded-For", "1.1.1.1, 192.0.2.1", "10.0.0.2"), "192.0.2.1");
    assert_eq!(both("Forwarded", "for=\"", "for=192.0.2.1"), "192.0.2.1");
    assert_eq!(both("Forwarded", "for=192.0.2.1", "for=10.0.0.2"), "192.0.2.1");
    assert_eq!(both("Forwarded", "for=192.0.2.1, \"", "for=10.0.0.2"), "10.0.0.2");
}

#[test]
fn no_field_is_the_proxy_itself() {
    assert_eq!(client(&[]), "10.0.0.1");
}

/// A proxy writes one field, and passes on the other as the client has sent it.
#[test]
fn c10_contradicting_fields_are_not_believed() {
    let both = |standard, common| read(&[("Forwarded", standard), ("X-Forwarded-For", common)]);
    assert_eq!(
        both("for=192.0.2.1;host=a", "192.0.2.1"),
        (Some("192.0.2.1".into()), vec!["a".into()], false)
    );
    assert_eq!(
        both("for=6.6.6.6;host=a", "192.0.2.1"),
        (Some("10.0.0.1".into()), vec![], true)
    );
    assert_eq!(
        both("for=192.0.2.1", "6.6.6.6"),
        (Some("10.0.0.1".into()), vec![], true)
    );
    assert_eq!(
        both("for=192.0.2.1", "unknown"),
        (Some("10.0.0.1".into()), vec![], true)
    );
}

#[test]
fn a_long_chain_is_not_walked_to_its_end() {
    let chain: Vec<_> = (0..5000)
        .map(|number| format!("10.1.{}.{}", number / 250, number % 250))
        .collect();
    let common = format!("192.0.2.1,{}", chain.join(","));
    // At the 32nd element from the right.
    let expected = &chain[chain.len() - MOST];
    let trusted = Networks::read(&["10.0.0.0/8".to_owned()]).unwrap();
    let elements = common
        .rsplit(',')
        .map(|part| address(part).map(|address| Element { address, host: None }));
    let found = walk(Some(PROXY), elements, &trusted);
    assert_eq!(
        (found.client.unwrap().to_string(), found.hops),
        (expected.clone(), MOST)
    );
}

#[test]
fn hosts() {
    for (fields, expected) in [
        (
            &[("Forwarded", "for=192.0.2.1;host=example.org")][..],
            &["example.org"][..],
        ),
        (
            &[("Forwarded", "for=192.0.2.1;host=\"example.org:8080\"")],
            &["example.org:8080"],
        ),
        // As the first proxy says; only it has seen what the client asked for.
        (
            &[("Forwarded", "for=192.0.2.1;host=example.org, for=10.0.0.2;host=inside")],
            &["example.org"],
        ),
        (
            &[("Forwarded", "for=1.1.1.1;host=evil, for=192.0.2.1;host=example.org")],
            &["example.org"],
        ),
        (&[("Forwarded", "for=1.1.1.1;host=evil, for=192.0.2.1")], &[]),
        (&[("X-Forwarded-Host", "example.org")], &["example.org"]),
        (&[("X-Forwarded-Host", "evil, example.org")], &["example.org"]),
        (
            &[
                ("X-Forwarded-For", "192.0.2.1, 10.0.0.2"),
                ("X-Forwarded-Host", "example.org, inside"),
            ],
            &["example.org"],
        ),
        (
            &[("X-Forwarded-For", "192.0.2.1"), ("X-Forwarded-Host", "example.org")],
            &["example.org"],
        ),
        (&[("X-Forwarded-Host", "")], &[]),
    ] {
        assert_eq!(read(fields).1, expected, "{fields:?}");
    }
}
