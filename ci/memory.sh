#!/usr/bin/env bash
# Runs the tests of the crates that have unsafe lines, and the fuzzers' corpora, where reading or writing beside memory, use after it
# is freed, and leaks are seen (the address sanitizer of a nightly toolchain), and where reading what was never written is
# (valgrind). What cannot run here is named as SKIPPED.
set -euo pipefail
cd "$(dirname "$0")/.."
export PROPTEST_CASES=${PROPTEST_CASES:-32}
host=$(rustc -vV | sed -n 's/^host: //p')

if cargo +nightly --version >/dev/null 2>&1; then
    # No doctests: rustdoc would need the flags too, and they do nothing that tests do not.
    RUSTFLAGS=-Zsanitizer=address ASAN_OPTIONS=detect_leaks=1 \
        cargo +nightly test --quiet --target "$host" --target-dir target/sanitizer \
        -p proto-ws -p proto-http -p fuzz-bodies --all-features --lib --tests
    echo 'nothing found by the address sanitizer'
else
    echo 'SKIPPED the address sanitizer: no nightly toolchain'
fi

if command -v valgrind >/dev/null; then
    programs=$(cargo test --no-run --message-format=json -p proto-ws -p proto-http --all-features --lib 2>/dev/null |
        sed -n 's/.*"profile":{[^}]*"test":true[^}]*}.*"executable":"\([^"]*\)".*/\1/p')
    # A list that is empty would prove nothing.
    [ "$(wc -l <<<"$programs")" = 2 ]
    for program in $programs; do
        valgrind --quiet --error-exitcode=1 "$program" --quiet
    done
    echo 'nothing found by valgrind'
else
    echo 'SKIPPED valgrind: not installed'
fi
