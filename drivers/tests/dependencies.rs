//! Checks which crates may depend on which, and how many dependencies they may have, as docs/architecture.md describes.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;

fn cargo(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO"))
        .args(arguments)
        .arg("--offline")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The package in a folder of the workspace. Package names have a prefix that folders and library names lack.
fn package(folder: &str) -> Value {
    let metadata: Value = serde_json::from_str(&cargo(&["metadata", "--format-version=1", "--no-deps"])).unwrap();
    let manifest = format!("/{folder}/Cargo.toml");
    let mut packages = metadata["packages"].as_array().unwrap().iter();
    let here = |package: &&Value| package["manifest_path"].as_str().unwrap().ends_with(&manifest);
    packages.find(here).unwrap().clone()
}

/// The dependencies of a crate of the workspace outside of tests, optional or not, by the names that its code uses.
fn dependencies(folder: &str) -> BTreeSet<String> {
    let package = package(folder);
    let normal = package["dependencies"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|dependency| dependency["kind"].is_null());
    normal
        .map(|dependency| match dependency["rename"].as_str() {
            Some(name) => name.to_owned(),
            None => dependency["name"].as_str().unwrap().to_owned(),
        })
        .collect()
}

#[test]
fn the_contract_and_the_wheel_stand_alone() {
    assert_eq!(dependencies("protocol"), BTreeSet::from(["bytes".to_owned()]));
    assert_eq!(dependencies("timing-wheel"), BTreeSet::new());
}

#[test]
fn codecs_know_no_driver_and_no_runtime() {
    for codec in ["proto-http", "proto-h2", "proto-ws", "proto-resp", "proto-proxy"] {
        for dependency in dependencies(codec) {
            let io = ["tokio", "mio", "rustix", "libc", "socket2"].contains(&dependency.as_str());
            assert!(
                !io && !dependency.starts_with("driver"),
                "{codec} depends on {dependency}"
            );
        }
    }
    assert!(!dependencies("proto-http").contains("proto-ws"));
    assert_eq!(
        dependencies("proto-resp"),
        BTreeSet::from(["bytes", "proto-buffer", "protocol"].map(str::to_owned))
    );
    assert_eq!(
        dependencies("proto-proxy"),
        BTreeSet::from(["ipnet".to_owned(), "protocol".to_owned()])
    );
}

#[test]
fn encryption_knows_no_driver_and_no_codec() {
    for dependency in dependencies("proto-tls") {
        let known = [
            "protocol",
            "rustls",
            "rustls-graviola",
            "rustls-native-certs",
            "webpki",
            "webpki-roots",
        ];
        assert!(
            known.contains(&dependency.as_str()),
            "proto-tls depends on {dependency}"
        );
    }
}

#[test]
fn services_know_no_driver() {
    let dependencies = dependencies("proto-tower");
    assert!(!dependencies.iter().any(|dependency| dependency.starts_with("driver")));
    // Of tokio it may use only the traits of streams.
    assert!(
        ["proto-http", "proto-h2", "tower-service"]
            .iter()
            .all(|codec| dependencies.contains(*codec))
    );
}

#[test]
fn files_know_no_driver() {
    let dependencies = dependencies("http-files");
    assert!(!dependencies.iter().any(|dependency| dependency.starts_with("driver")));
    assert!(dependencies.contains("proto-http") && dependencies.contains("protocol"));
}

/// The client runs on any driver; one driver is a feature of it.
#[test]
fn a_client_knows_no_driver_but_by_a_feature() {
    let dependencies = dependencies("http-client");
    let drivers = dependencies
        .iter()
        .filter(|dependency| dependency.starts_with("driver-"));
    assert_eq!(drivers.collect::<Vec<_>>(), ["driver-common", "driver-tokio"]);
    let manifest = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../http-client/Cargo.toml")).unwrap();
    assert!(manifest.contains("driver-tokio = { workspace = true, optional = true }"));
}

#[test]
fn drivers_know_no_protocol() {
    for driver in ["driver-common", "driver-epoll", "driver-tokio", "drivers", "processes"] {
        for dependency in dependencies(driver) {
            assert!(!dependency.starts_with("proto-"), "{driver} depends on {dependency}");
        }
        assert!(dependencies(driver).contains("protocol"));
    }
}

#[test]
fn what_drivers_share_knows_no_event_loop() {
    for dependency in dependencies("driver-common") {
        let allowed = [
            "protocol",
            "quinn-udp",
            "socket2",
            "rustix",
            "libc",
            "timing-wheel",
            "tracing",
        ]
        .contains(&dependency.as_str());
        assert!(allowed, "driver-common depends on {dependency}");
    }
}

#[test]
fn a_codec_brings_at_most_twelve_crates_of_others() {
    for codec in ["proto-http", "proto-h2", "proto-ws", "proto-resp", "proto-proxy"] {
        let package = package(codec);
        let name = package["name"].as_str().unwrap();
        let tree = cargo(&["tree", "-e", "normal", "--prefix", "none", "-p", name]);
        let names = tree.lines().filter_map(|line| line.split_whitespace().next());
        let crates: BTreeSet<&str> = names.filter(|found| !found.starts_with("wirestate-")).collect();
        assert!(crates.len() <= 12, "{codec}: {crates:?}");
    }
}
