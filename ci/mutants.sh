#!/usr/bin/env bash
# Mutates the libraries and sees that tests fail: usage: mutants.sh [all|FILE..]. Without an argument a sample, one file of each codec and
# a share of its mutants, which follows from the day; `all` takes hours. Needs cargo-mutants (cargo install cargo-mutants).
# A survivor is either killed by a test or explained in .cargo/mutants.toml.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PWD/target/tools/bin:$PATH
if ! command -v cargo-mutants >/dev/null; then
    echo 'SKIPPED mutants: cargo-mutants is not installed'
    exit 0
fi
mkdir -p target/mutants
run() { # folder, then further arguments
    local folder=$1
    shift
    # The package is called after the folder (docs/releasing.md).
    cargo mutants --package "wirestate-${folder#proto-}" --jobs 1 --no-shuffle --colors never --output "target/mutants/$folder" "$@"
}
case ${1:-} in
all)
    for folder in protocol proto-http proto-ws proto-resp proto-proxy timing-wheel driver-common; do run "$folder"; done
    ;;
'')
    day=$(($(date +%j) % 16))
    run proto-http --file proto-http/src/fold.rs --file proto-http/src/framing.rs --shard "$day/16"
    run proto-ws --file proto-ws/src/writer.rs --file proto-ws/src/adapter/session.rs --shard "$day/16"
    run proto-resp --file proto-resp/src/client.rs --file proto-resp/src/scan.rs --shard "$day/16"
    ;;
*)
    for file in "$@"; do run "${file%%/*}" --file "$file"; done
    ;;
esac
