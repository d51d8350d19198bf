//! Checks that neither the codecs nor the contract declare a method or type with a name that the table of docs/architecture.md forbids.

use std::fs;
use std::path::{Path, PathBuf};

const CRATES: [&str; 6] = [
    "protocol",
    "proto-http",
    "proto-h2",
    "proto-ws",
    "proto-resp",
    "proto-proxy",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The names of the last two columns of the table: those to use, and those not to.
fn table() -> Vec<(Vec<String>, Vec<String>)> {
    let text = fs::read_to_string(root().join("docs/architecture.md")).unwrap();
    let section = text
        .split("## One dialect")
        .nth(1)
        .unwrap()
        .split("\n## ")
        .next()
        .unwrap();
    let quoted = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    let rows = section.lines().filter_map(|line| {
        let cells: Vec<&str> = line.strip_prefix("| ")?.split(" | ").collect();
        (cells.len() == 3 && cells[1].contains('`')).then(|| (quoted(cells[1]), quoted(cells[2])))
    });
    rows.collect()
}

/// Whether `line` declares a public method, a method of a trait, or a public type of that name.
fn declares(line: &str, name: &str) -> bool {
    let line = line.trim_start();
    let public = line.strip_prefix("pub ");
    ["fn ", "struct ", "enum ", "trait "].iter().any(|kind| {
        let declared = match public {
            Some(rest) => rest.strip_prefix("const ").unwrap_or(rest).strip_prefix(kind),
            // A method of a trait needs no `pub`, and private functions follow the table as well.
            None => line.strip_prefix(kind),
        };
        declared.is_some_and(|rest| {
            rest.strip_prefix(name)
                .is_some_and(|rest| !rest.starts_with(|next: char| next.is_alphanumeric() || next == '_'))
        })
    })
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn all_codecs_speak_one_dialect() {
    let table = table();
    assert!(table.len() >= 10, "the table is missing");
    let mut files = Vec::new();
    for name in CRATES {
        sources(&root().join(name).join("src"), &mut files);
    }
    let texts: Vec<_> = files.iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    for (names, others) in table {
        for name in &names {
            let used = texts.iter().any(|text| text.lines().any(|line| declares(line, name)));
            assert!(used, "the table names `{name}`, which no crate has");
        }
        for other in &others {
            for (path, text) in files.iter().zip(&texts) {
                let line = text.lines().position(|line| declares(line, other));
                assert_eq!(line, None, "{}: `{other}` is called {names:?}", path.display());
            }
        }
    }
}
