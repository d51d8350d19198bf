//! Whatever a path says, nothing outside the root is served.
#![cfg(unix)]

mod common;

use std::os::unix::fs::symlink;

use common::Site;
use proptest::prelude::*;

/// What nobody may get.
const SECRET: &[u8] = b"outside of the root";

/// What paths are made of.
fn piece() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "..",
        ".",
        "",
        "%2e%2e",
        "%2e",
        ".%2e",
        "%252e%252e",
        "..%2f",
        "..\\",
        "%5c..",
        "%00",
        "secret",
        "root",
        "a",
        "sub",
        "up",
        "out",
        "absolute",
        "etc",
        "passwd",
        "proc",
        "self",
        "cwd",
        "%c0%ae%c0%ae",
        "...",
        "~",
        "root%2f..%2fsecret",
        "%",
    ]);
    prop_oneof![8 => known.prop_map(str::to_owned), 1 => "[!-~&&[^#?]]{0,6}"]
}

proptest! {
    #[test]
    fn nothing_outside_the_root_is_served(pieces in prop::collection::vec(piece(), 0..7), absolute: bool, links: bool) {
        let site = site(links);
        let path = format!("/{}", pieces.join("/"));
        let target = if absolute { format!("http://x{path}") } else { path };
        let answer = site.get(&target, &[]);
        prop_assert!(matches!(answer.status, 200 | 301 | 400 | 404), "{} {target}", answer.status);
        let inside = answer.body.is_empty() || answer.body == b"inside";
        prop_assert!(inside, "{target}: {}", answer.body.escape_ascii());
        // A redirect stays on this host (RFC 9110 section 10.2.2).
        if let Some(location) = answer.field("location") {
            prop_assert!(location.starts_with('/') && !location.starts_with("//"), "{location}");
        }
    }
}

fn site(links: bool) -> Site {
    let site = Site::new(|config| config.dotfiles(true).symlinks(links));
    site.file("a", b"inside");
    site.file("sub/a", b"inside");
    site.file("sub/index.html", b"inside");
    let outside = site.root().parent().unwrap().to_owned();
    std::fs::write(outside.join("secret"), SECRET).unwrap();
    for (link, to) in [
        ("up", ".."),
        ("out", "../secret"),
        ("sub/out", "../../secret"),
        ("absolute", outside.to_str().unwrap()),
        ("etc", "/etc"),
        ("proc", "/proc"),
        ("sub/self", "."),
    ] {
        symlink(to, site.root().join(link)).unwrap();
    }
    site
}
