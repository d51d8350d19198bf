//! Replays the inputs that fuzzers have found and those they start from: every file in `fuzz/corpus/<target>` and
//! `fuzz/regressions/<target>` is given to its target's body.

use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use fuzz_bodies::{Body, TARGETS};

fn files(folder: &str, target: &str) -> Vec<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .join(folder)
        .join(target);
    let entries = fs::read_dir(path).into_iter().flatten();
    let mut files: Vec<_> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .collect();
    files.sort();
    files
}

/// Replays the files of `folder`, and adds those on which the body panics to `failed`. Returns the number of files.
fn replay(folder: &str, target: &str, body: Body, failed: &mut Vec<PathBuf>) -> usize {
    let files = files(folder, target);
    for file in &files {
        let data = fs::read(file).unwrap();
        if catch_unwind(|| body(&data)).is_err() {
            failed.push(file.clone());
        }
    }
    files.len()
}

#[test]
fn what_was_found_stays_found() {
    let mut failed = Vec::new();
    for &(target, body) in TARGETS {
        let seeds = replay("corpus", target, body, &mut failed);
        assert!(seeds > 0, "{target} has no corpus");
        replay("regressions", target, body, &mut failed);
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

/// Every target has a program of its name, and every folder belongs to a target.
#[test]
fn every_folder_has_a_target() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    for folder in ["corpus", "regressions", "fuzz_targets"] {
        // The folder of regressions may not exist.
        for entry in fs::read_dir(root.join(folder)).into_iter().flatten() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap();
            let known = TARGETS.iter().any(|(target, _)| *target == name);
            assert!(
                known || name == "README",
                "{} is not the corpus of any target",
                path.display()
            );
        }
    }
    for (target, _) in TARGETS {
        let program = root.join("fuzz_targets").join(format!("{target}.rs"));
        assert!(program.is_file(), "{} is missing", program.display());
    }
}

/// Random bytes, and the corpora with a few bytes changed: what a fuzzer does first, here on every machine.
#[test]
fn a_little_noise() {
    let mut state = 1_u64;
    let mut random = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize
    };
    let mut failed = Vec::new();
    for &(target, body) in TARGETS {
        for file in files("corpus", target) {
            let seed = fs::read(file).unwrap();
            for _ in 0..20 {
                let mut data = seed.clone();
                for _ in 0..random() % 4 {
                    let at = random() % data.len().max(1);
                    if let Some(byte) = data.get_mut(at) {
                        *byte = random() as u8;
                    }
                }
                data.truncate(random() % (data.len() * 4 + 1));
                if catch_unwind(|| body(&data)).is_err() {
                    failed.push(format!("{target}: {}", data.escape_ascii()));
                }
            }
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}
