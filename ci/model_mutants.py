#!/usr/bin/env python3
"""Removes fixes from a copy of comet, one at a time, and runs the model of the broker on the copy: does it find the fault again?

usage: ci/model_mutants.py [WORD...]     only mutants whose name contains one of the words

A mutant is a fault of docs/comet-faults.md that the broker's dialect, its connections or the node once had. The script fails if the
model does not find a mutant, or finds a fault in comet as it is. The copy stays in target/model-mutants, so that the next run
builds little. Faults outside of the model (processes, sockets, tokens, memory) are covered by `ci/comet_faults.py` and by the tests
that docs/comet-faults.md names.
"""

import os
import re
import resource
import subprocess
import sys
import time

from lib import ROOT
from lib.tree import copy

READING = "comet/src/broker/reading.rs"
STATE = "comet/src/broker/upstream/state.rs"
UPSTREAM = "comet/src/broker/upstream/mod.rs"
COMMANDS = "comet/src/broker/upstream/commands.rs"
SPEAKER = "comet/src/broker/speaker.rs"
DIALECT = "comet/src/broker/redis/dialect.rs"
REDIS = "comet/src/broker/redis/mod.rs"
FEED = "comet/src/node/feed.rs"
LOG = "comet/src/log.rs"
# Schedules of faults for each.
RUNS = 600
# Seconds of processor time that a process may take. All schedules take four minutes without optimization.
LONGEST = 900

# The fault, and its edits: the file, the text with the fix, and the text without.
MUTANTS = [
    ("nothing is broken", []),
    # Loss: a broker that goes back in time, or forgets a channel.
    (
        "a rollback is taken for the same history",
        [
            (
                READING,
                "Entry::Publication(_) if is_older => return Lineage::Lost,",
                "Entry::Publication(_) if is_older => return Lineage::Holds,",
            )
        ],
    ),
    (
        "what was acknowledged is not missed",
        [
            (
                READING,
                "lineage == Some(Lineage::Lost) || acknowledged.iter().any(|place| lineage_of(place) == Lineage::Lost);",
                "lineage == Some(Lineage::Lost);",
            )
        ],
    ),
    (
        "another life of Redis casts no doubt on what was acknowledged",
        [
            (
                STATE,
                "            known.doubt(self.now, known.position);\n        }\n        self.look_for_acknowledged();",
                "            let _ = known;\n        }",
            )
        ],
    ),
    (
        "a channel that begins anew in one life casts no doubt on what was acknowledged",
        [(STATE, "            known.doubt(self.now, earlier);\n            self.look_again(channel);", "            let _ = earlier;")],
    ),
    (
        "a loss that could not be marked is forgotten",
        [
            (
                STATE,
                "            known.doubt(at, position);\n        }\n        self.to_mark",
                "            let _ = known;\n        }\n        self.to_mark",
            )
        ],
    ),
    (
        "a loss in a channel that nobody follows is not marked",
        [(COMMANDS, "let Some(keep) = followed.or_else(acknowledged) else {", "let _ = acknowledged; let Some(keep) = followed else {")],
    ),
    (
        "a history that began anew is taken for the old one",
        [
            (
                READING,
                "                            Lineage::Holds\n                        } else {\n                            Lineage::Lost",
                "                            Lineage::Holds\n                        } else {\n                            Lineage::Holds",
            )
        ],
    ),
    (
        "an empty history has lost nothing",
        [
            (
                READING,
                "            true => Lineage::Unknown,\n            false => Lineage::Lost,",
                "            true => Lineage::Unknown,\n            false => Lineage::Holds,",
            )
        ],
    ),
    ("a mark of another node is not looked at", [(DIALECT, "return News::Look(channel);", "return News::Nothing;")]),
    # Channels that come back, or do not.
    (
        "a history is read at once, on the connection that Redis bounds",
        [
            (DIALECT, "fn has_news_apart(&self) -> bool {\n        true", "fn has_news_apart(&self) -> bool {\n        false"),
            (READING, "const PAGE: usize = 256 << 10;", "const PAGE: usize = 256 << 20;"),
        ],
    ),
    (
        "commands beyond what may be under way are dropped",
        [
            (COMMANDS, "if outstanding >= self.bounds.window {", "if outstanding == usize::MAX {"),
            (SPEAKER, "            out.command(ticket, &words[..])?;", "            let _ = out.command(ticket, &words[..]);"),
        ],
    ),
    ("a dead link is not noticed", [(REDIS, "config.timeouts.ping = Some(SILENCE);", "config.timeouts.ping = None;")]),
    (
        "a channel without a snapshot is not asked for again",
        [(FEED, "        if !wants || now < state.ask {", "        if true || !wants || now < state.ask {")],
    ),
    (
        "messages know no databases",
        [
            (DIALECT, 'format!("{}{}:say:{channel}", self.prefix, self.database)', 'format!("{}say:{channel}", self.prefix)'),
            (DIALECT, 'rest.strip_prefix(format!("{}:say:", self.database).as_bytes())?', 'rest.strip_prefix(b"say:")?'),
        ],
    ),
    # Presence.
    (
        "presence is not put off",
        [
            (
                DIALECT,
                "        let arguments = [self.node.clone().into(), millis(PRESENT)];\n"
                "        Some(self.run(REFRESH_PRESENCE, &self.present_keys(channel), arguments))",
                "        let _ = channel;\n        None",
            )
        ],
    ),
    (
        "presence that was forgotten is not told anew",
        [(COMMANDS, "if reply.as_integer() == Some(0) {", "if reply.as_integer() == Some(2) {")],
    ),
    ("a new connection is not told who is present", [(UPSTREAM, "            state.tell_all_present();\n", "")]),
    (
        "one who left unheard stays present beside the next",
        [(COMMANDS, "let is_first = !state.entered.contains(&channel);", "let is_first = false;")],
    ),
    (
        "one of whom could not be told is not told of again",
        [(COMMANDS, "self.lock().untold.insert(channel);", "let _ = channel;")],
    ),
    # Resuming, and outcomes.
    (
        "a resume is answered with all that was missed, however much",
        [
            (
                FEED,
                "mirror.after(from.offset, if takes { FIRST } else { 0 });\n        tail.limit_bytes(FIRST_BYTES);",
                "mirror.after(from.offset, if takes { usize::MAX } else { 0 });\n        tail.limit_bytes(usize::MAX);",
            )
        ],
    ),
    (
        "a node that lags calls an unknown position lost, and tells twice",
        [
            (
                FEED,
                "                None => return Begin::Ask,\n                Some(round) if state.round < round => {",
                "                None => (mirror.start(), Some(false)),\n                Some(round) if state.round < round => {",
            )
        ],
    ),
    ("the end of an epoch is forgotten", [(LOG, "        self.turns.push(end);", "        let _ = end;")]),
    ("what was sent is said to have done nothing", [(COMMANDS, "                done.sent();\n", "                let _ = &mut done;\n")]),
    (
        "a wish that is repeated is done twice",
        [(DIALECT, "if let Some(key) = &draft.key {", "if let Some(key) = draft.key.as_ref().filter(|_| false) {")],
    ),
]

# Faults of docs/comet-faults.md that the model cannot represent, and the tests for them:
# - how many pages are read at once: `forty_thousand_channels_come_back_a_few_at_a_time`.
# - `history_bytes` and `history_time` on Redis, which the script in Lua keeps: `bounds_histories` of comet/src/tests/brokers.rs, on a
#   real Redis.
# - ids of clients that repeat after a worker is killed: the process draws what they begin with (`NodeConfig::start`).
# - limits between parent and worker, workers that are killed or stopped, handovers: processes/tests, ci/comet_faults.py --long.
# - a slow look-up of a name, which is done before there is a connection: `a_slow_look_up_delays_nobody`.
# - rights, costs of strangers, JSON, tokens, /readyz, counters: no broker fails there; the tests that the page names.


def found(folder):
    """Returns the model's finding for a copy, or None."""
    command = ["cargo", "test", "--quiet", "--package", "comet", "--bin", "comet", "model"]
    environment = {**os.environ, "COMET_MODEL_RUNS": str(RUNS), "RUST_BACKTRACE": "0", "RUSTFLAGS": "-Awarnings"}
    environment["CARGO_TARGET_DIR"] = str(ROOT / "target/model-mutants")
    bound = lambda: resource.setrlimit(resource.RLIMIT_CPU, (LONGEST, LONGEST))
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, preexec_fn=bound)
    if "error: could not compile" in done.stderr:
        sys.exit(f"a mutant does not compile:\n{done.stderr[-2000:]}")
    if done.returncode == 0:
        return None
    if "SIGXCPU" in done.stderr or "SIGKILL" in done.stderr:
        return "a schedule does not end"
    return (re.search(r"panicked at .*:\n(.*)", done.stdout) or re.search(r"(.+)", done.stdout))[1][:160]


def main():
    words = sys.argv[1:]
    wrong = []
    folder = ROOT / "target/model-mutants/copy"
    copy(folder)
    try_all(folder, words, wrong)
    if wrong:
        sys.exit(f"not as expected: {', '.join(wrong)}")


def try_all(folder, words, wrong):
    for name, edits in MUTANTS:
        if words and not any(word in name for word in words):
            continue
        files = {file: (folder / file).read_text() for file, *_ in edits}
        for file, old, new in edits:
            text = (folder / file).read_text()
            # A mutant that no longer fits would prove nothing.
            assert text.count(old) == 1, f"{name}: {text.count(old)} places in {file}: {old}"
            (folder / file).write_text(text.replace(old, new))
        begun = time.monotonic()
        why = found(folder)
        for file, text in files.items():
            (folder / file).write_text(text)
        took = f"{time.monotonic() - begun:.0f} s"
        print(f"{'found    ' if why else 'not found'} {name} ({took}){f': {why}' if why else ''}", flush=True)
        if (why is None) != (not edits):
            wrong.append(name)


if __name__ == "__main__":
    main()
