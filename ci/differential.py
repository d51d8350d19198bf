#!/usr/bin/env python3
"""Compares the codecs with other people's parsers, two or three for each protocol that know nothing of each other: proto-http with h11 and
llhttp, proto-h2 with the crate h2, Python's h2 and nghttp2, proto-ws with wsproto and tungstenite, proto-resp with hiredis and
redis-protocol.

usage: differential.py HTTP HTTP2 FRAMES [--cases N] [--seed S] [--only http|h2|ws|resp]

HTTP, HTTP2 and FRAMES are the examples `verdicts` of proto-http, and `h2_verdicts` and `frame_verdicts` of fuzz-bodies. N streams a protocol follow from S: a generator makes
them, and most have small changes. What two take must be the same, in the same order; every other difference must be explained by a
row of the tables in ci/oracles, the list of disagreements that are deliberate, each with its section. 2,000 streams take a
minute; --cases 100000 is the long run. What is not installed is named as SKIPPED.
"""

import argparse
import collections
import itertools
import random
import sys

from lib import skipped
from oracles import http, http2, resp, websocket

# The most streams compared at once, to bound the memory of each program.
BATCH = 5000
# The most differences that are shown.
SHOWN = 20


def compare(name, protocol, ours, options):
    """Compares one protocol with its peers. Returns the number of unexplained differences."""
    counts = collections.defaultdict(collections.Counter)
    present = [(who, read) for who, read, _ in protocol.peers() if read]
    for who, read, why in protocol.peers():
        if not read:
            skipped(who, why)
    unexplained = 0
    streams = protocol.streams(random.Random(options.seed), options.cases)
    while batch := list(itertools.islice(streams, BATCH)):
        verdicts = ours(batch)
        for who, read in present:
            for (kind, stream), our, their in zip(batch, verdicts, read(batch), strict=True):
                why = protocol.explain(who, stream, our, their)
                counts[who][why] += 1
                if not why:
                    unexplained += 1
                    if unexplained <= SHOWN:
                        print(f"{who}: {kind}\n  {stream!r}\n  ours:   {our}\n  theirs: {their}", flush=True)
    for who, reasons in counts.items():
        print(f"{name}, {who}: {reasons.total()} streams, {reasons.total() - reasons[True]} differences")
        for why, count in reasons.most_common():
            if why is not True:
                print(f"  {count:6} {why}", flush=True)
    return unexplained


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("http")
    parser.add_argument("http2")
    parser.add_argument("frames")
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=["http", "h2", "ws", "resp"])
    options = parser.parse_args()
    frames = [options.frames, "ours"]
    websocket.VERDICTS = resp.VERDICTS = options.frames
    http2.VERDICTS = options.http2
    protocols = [
        ("http", http, [options.http]),
        ("h2", http2, [options.http2, "ours"]),
        ("ws", websocket, frames),
        ("resp", resp, frames),
    ]
    unexplained = {}
    for name, protocol, ours in protocols:
        if options.only in (None, name):
            unexplained[name] = compare(name, protocol, lambda streams: protocol.by_program(ours, streams), options)
    if any(unexplained.values()):
        sys.exit(f"differences that nothing explains: {unexplained}; --seed {options.seed}")


if __name__ == "__main__":
    main()
