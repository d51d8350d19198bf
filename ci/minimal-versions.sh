#!/usr/bin/env bash
# Checks the library crates with the oldest version that each direct dependency is said to do with. Needs a nightly
# toolchain; works on a copy, so that Cargo.lock stays as it is.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! cargo +nightly --version >/dev/null 2>&1; then
    echo 'SKIPPED minimal versions: no nightly toolchain'
    exit 0
fi
target=$PWD/target/minimal-versions
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
git ls-files -z --cached --others --exclude-standard | tar -c --null --files-from=- | tar -x -C "$copy"
cd "$copy"
rm Cargo.lock
# Programs are built with Cargo.lock: what they ask for must not get in the way.
sed -i -E '/^    "(comet|examples|benches|fuzz\/bodies)",$/d; /^default-members/d' Cargo.toml
cargo +nightly update --quiet -Z direct-minimal-versions
cargo +nightly check --quiet --target-dir "$target" --all-features \
    -p protocol -p proto-http -p proto-ws -p proto-resp -p timing-wheel -p driver-common -p driver-epoll -p driver-tokio -p drivers
echo 'the library crates compile with the oldest versions of their direct dependencies'
