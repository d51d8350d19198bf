//! Checks docs/security.md: the tests that it names exist, and every test named by an attack is listed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The rows that begin with an id, such as `h01`: the tests named in each.
fn rows() -> BTreeMap<String, Vec<String>> {
    let text = fs::read_to_string(root().join("docs/security.md")).unwrap();
    let rows = text.lines().filter_map(|line| {
        let cells: Vec<&str> = line.strip_prefix("| ")?.split(" | ").collect();
        let tests = cells.last()?.split('`').skip(1).step_by(2);
        is_id(cells[0]).then(|| (cells[0].to_owned(), tests.map(str::to_owned).collect()))
    });
    rows.collect()
}

fn is_id(word: &str) -> bool {
    word.len() == 3
        && word.starts_with(['f', 'h', 'w', 's', 'r', 'p', 'c', 't'])
        && word[1..].bytes().all(|byte| byte.is_ascii_digit())
}

/// Names of all tests below `folder` that begin with the id of an attack, those made for every driver among them.
fn tests(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            tests(&path, found);
        } else if name.ends_with(".rs") {
            let text = fs::read_to_string(&path).unwrap();
            let lines: Vec<&str> = text.lines().map(str::trim).collect();
            for (at, line) in lines.iter().enumerate() {
                let name = match line.strip_prefix("fn ") {
                    Some(rest) if lines[..at].iter().rev().take(3).any(|line| *line == "#[test]") => {
                        rest.split_once('(')
                    }
                    None if text.contains("on_every_driver! {") || text.contains("on_every_host! {") => {
                        line.split_once(": ")
                    }
                    _ => None,
                };
                if let Some((name, _)) = name
                    && name.get(..3).is_some_and(is_id)
                    && name[3..].starts_with('_')
                {
                    found.insert(name.to_owned());
                }
            }
        }
    }
}

#[test]
fn every_attack_has_its_tests() {
    let rows = rows();
    let mut found = BTreeSet::new();
    tests(&root(), &mut found);
    for (letter, count) in [
        ('f', 33),
        ('h', 19),
        ('w', 15),
        ('s', 16),
        ('r', 16),
        ('p', 9),
        ('c', 9),
        ('t', 9),
    ] {
        for number in 1..=count {
            let id = format!("{letter}{number:02}");
            let named = rows
                .get(&id)
                .unwrap_or_else(|| panic!("{id} is not in docs/security.md"));
            assert!(!named.is_empty(), "{id} names no test");
            for test in named {
                assert!(found.contains(test), "{id}: there is no test {test}");
                assert!(test.contains(&id), "{id} is not in the name of {test}");
            }
        }
    }
    let named: BTreeSet<&String> = rows.values().flatten().collect();
    for test in &found {
        assert!(named.contains(test), "{test} is not in docs/security.md");
    }
}

/// All attacks on HTTP and WebSocket reach a socket.
#[test]
fn attacks_are_made_over_sockets() {
    let sockets = ["abuse_http.rs", "abuse_ws.rs"]
        .map(|file| fs::read_to_string(root().join("drivers/tests").join(file)).unwrap())
        .concat();
    let (_, lists) = sockets.split_once("on_every_host! {").unwrap();
    for id in rows().keys().filter(|id| id.starts_with(['h', 'w'])) {
        let body = lists
            .lines()
            .find_map(|line| line.trim().strip_prefix(&format!("{id}: ")))
            .unwrap_or_else(|| panic!("{id} is not made over sockets"));
        let body = body.trim_end_matches(';');
        assert!(body.starts_with(&format!("{id}_")) && sockets.contains(&format!("fn {body}(host: &impl Host)")));
    }
}

/// docs/security.md lists every crate that has unsafe code; in the others the compiler forbids it.
#[test]
fn unsafe_lines_are_where_it_is_said() {
    let text = fs::read_to_string(root().join("docs/security.md")).unwrap();
    let (_, section) = text.split_once("## Unsafe lines").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let mut allowed = 0;
    for entry in fs::read_dir(root()).unwrap() {
        let folder = entry.unwrap().path();
        let name = folder.file_name().unwrap().to_str().unwrap().to_owned();
        let Ok(library) = fs::read_to_string(folder.join("src/lib.rs")) else {
            continue;
        };
        if library.contains("#![forbid(unsafe_code)]") || ["benches", "examples"].contains(&&*name) {
            continue;
        }
        assert!(
            library.contains("#![deny(unsafe_code)]"),
            "{name} does not forbid unsafe code"
        );
        assert!(
            section.contains(&format!("`{name}`")),
            "docs/security.md does not list {name}"
        );
        allowed += 1;
    }
    for entry in fs::read_dir(root().join("hosts")).unwrap() {
        let folder = entry.unwrap().path();
        let name = format!("`hosts/{}`", folder.file_name().unwrap().to_str().unwrap());
        // The others have no Rust.
        assert_eq!(folder.join("src").exists(), section.contains(&name), "{name}");
    }
    assert!(
        section.contains("but three") && allowed == 3,
        "{allowed} crates may have unsafe lines"
    );
}
