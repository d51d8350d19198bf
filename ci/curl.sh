#!/usr/bin/env bash
# Talks to the testbed with curl and bare sockets, on every driver: usage: curl.sh TESTBED
set -euo pipefail
testbed=$1
work=$(mktemp -d)
trap 'rm -rf "$work"; [ -z "${server:-}" ] || kill "$server" 2>/dev/null || true' EXIT
head -c 10485760 /dev/urandom >"$work/body"

expect() { # name, wanted, seen
    if [ "$2" != "$3" ]; then
        printf '%s: %s: expected %q, saw %q\n' "$driver" "$1" "$2" "$3" >&2
        exit 1
    fi
}

for driver in epoll tokio; do
    "$testbed" --driver "$driver" --listen 127.0.0.1:0 --threads 2 >"$work/out" &
    server=$!
    for _ in $(seq 100); do
        [ -s "$work/out" ] && break
        sleep 0.05
    done
    address=$(sed -n 's/^listening on //p' "$work/out")
    url=http://$address

    expect GET 'Hello, World!200 13' "$(curl -sS -w '%{http_code} %header{content-length}' "$url/")"
    expect Date 29 "$(curl -sS -o /dev/null -w '%header{date}' "$url/" | wc -c)"
    expect HEAD '200 13 0' "$(curl -sS -I -o /dev/null -w '%{http_code} %header{content-length} %{size_download}' "$url/")"
    for status in 204 304 404; do
        expect "$status" "$status 0" "$(curl -sS -o /dev/null -w '%{http_code} %{size_download}' "$url/$status")"
    done
    expect 405 '405 GET, HEAD' "$(curl -sS -X DELETE -o /dev/null -w '%{http_code} %header{allow}' "$url/")"
    expect 426 '426 13' "$(curl -sS -o /dev/null -w '%{http_code} %header{sec-websocket-version}' "$url/ws")"

    curl -sS --data-binary "@$work/body" -H 'Content-Type: a/b' -D "$work/head" "$url/echo" | cmp - "$work/body"
    grep -qi '^content-type: a/b' "$work/head"
    curl -sS --data-binary "@$work/body" -H 'Transfer-Encoding: chunked' -D "$work/head" "$url/echo" | cmp - "$work/body"
    grep -qi '^transfer-encoding: chunked' "$work/head"

    # Two requests, one connection.
    expect keep-alive 10 "$(curl -sS -o /dev/null -o /dev/null -w "%{num_connects}" "$url/" "$url/")"

    python3 - "$address" <<'PY'
import socket, sys
host, port = sys.argv[1].rsplit(":", 1)

def exchange(pieces):
    with socket.create_connection((host, int(port)), timeout=20) as peer:
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            peer.sendall(piece)
        peer.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: peer.recv(65536), b""))

def each_byte(data):
    return [data[at:at + 1] for at in range(len(data))]

get = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
both = exchange([get + get])
assert both.count(b"HTTP/1.1 200 OK\r\n") == 2 and both.count(b"Hello, World!") == 2, both
fields = b"".join(b"X-%d: %s\r\n" % (n, b"v" * 500) for n in range(31))
head = b"GET / HTTP/1.1\r\nHost: x\r\n" + fields + b"\r\n"
assert 15 * 1024 < len(head) <= 16 * 1024, len(head)
assert exchange(each_byte(head)).endswith(b"Hello, World!")
PY
    kill -TERM "$server"
    wait "$server"
    server=
    echo "$driver: curl and bare sockets agree; SIGTERM exits 0"
done
