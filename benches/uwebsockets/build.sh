#!/usr/bin/env bash
# Builds target/release/uwebsockets, which compare takes as a peer where it is there: uWebSockets itself, in C++, without
# a binding between. Its source is the one that the crate libuwebsockets-sys carries; needs cargo, cc and c++.
#
# usage: build.sh [FOLDER OF UWEBSOCKETS]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
target=${CARGO_TARGET_DIR:-$here/../../target}
mkdir -p "$target/uwebsockets/src" "$target/release"
work=$(cd "$target/uwebsockets" && pwd)

source=${1:-}
if [ -z "$source" ]; then
    printf '[package]\nname = "fetch"\nversion = "0.0.0"\nedition = "2021"\n[workspace]\n[dependencies]\nlibuwebsockets-sys = "=0.0.10"\n' \
        >"$work/Cargo.toml"
    touch "$work/src/lib.rs"
    (cd "$work" && cargo vendor --quiet vendor >/dev/null)
    source=$work/vendor/libuwebsockets-sys/uWebSockets
fi

# As its own makefiles have it, without TLS and compression.
cd "$work"
for file in "$source"/uSockets/src/*.c "$source"/uSockets/src/eventing/*.c; do
    cc -std=c11 -O3 -flto -DLIBUS_NO_SSL -I"$source/uSockets/src" -c "$file" -o "$(basename "$file").o"
done
c++ -std=c++20 -O3 -flto=auto -DLIBUS_NO_SSL -DUWS_NO_ZLIB -I"$source/src" -I"$source/uSockets/src" \
    "$here/server.cc" ./*.c.o -o "$target/release/uwebsockets" -lpthread
echo "$target/release/uwebsockets"
