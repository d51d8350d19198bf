#!/usr/bin/env python3
"""Takes mends out of copies of comet, one at a time, and runs the model of the broker on each: does it find the fault again?

usage: ci/model_mutants.py [WORD...]     only mutants whose name has one of the words

A mutant is a fault of docs/comet-faults.md that the broker's dialect, its link or the node once had. Fails when the model does not
find one, unless it stands in TOO_RARE, or finds something in comet as it is. Faults outside of what the model simulates (processes, sockets, tokens, memory) are
for `ci/comet_faults.py` and the tests that docs/comet-faults.md names.
"""

import os
import re
import subprocess
import sys

from lib import ROOT
from lib.tree import copied

READING = "comet/src/broker/reading.rs"
STATE = "comet/src/broker/upstream/state.rs"
DIALECT = "comet/src/broker/redis/dialect.rs"
FEED = "comet/src/node/feed.rs"
# Schedules of faults per mutant. Mutants that need a rare order of events need more schedules.
RUNS = 600

# The fault, the file, the fixed code, and the code without the fix.
MUTANTS = [
    ("nothing is broken", READING, None, None),
    (
        "a rollback is taken for the same history",
        READING,
        "Entry::Publication(_) if is_older => return Lineage::Lost,",
        "Entry::Publication(_) if is_older => return Lineage::Holds,",
    ),
    (
        "what was acknowledged is not missed",
        READING,
        "let is_lost = lineage == Some(Lineage::Lost) || acknowledged.iter().any(|place| lineage_of(place) == Lineage::Lost);",
        "let is_lost = lineage == Some(Lineage::Lost);",
    ),
    (
        "another life of Redis casts no doubt on what was acknowledged",
        STATE,
        "            known.doubt(self.now, known.position);\n        }\n        self.look_for_acknowledged();",
        "        let _ = known;\n        }",
    ),
    (
        "a loss that could not be marked is forgotten",
        STATE,
        "            known.doubt(at, position);\n        }\n        self.to_mark",
        "            let _ = known;\n        }\n        self.to_mark",
    ),
    (
        "a history that began anew is taken for the old one",
        READING,
        "                            Lineage::Holds\n                        } else {\n                            Lineage::Lost",
        "                            Lineage::Holds\n                        } else {\n                            Lineage::Holds",
    ),
    (
        "an empty history has lost nothing",
        READING,
        "            true => Lineage::Unknown,\n            false => Lineage::Lost,",
        "            true => Lineage::Unknown,\n            false => Lineage::Holds,",
    ),
    (
        "a mark of another node is not looked at",
        DIALECT,
        "return News::Look(channel);",
        "return News::Nothing;",
    ),
    (
        "a channel without a snapshot is not asked for again",
        FEED,
        "        if !wants || now < state.ask {",
        "        if true || !wants || now < state.ask {",
    ),
    (
        "a node that lags calls an unknown position lost, and tells twice",
        FEED,
        "                None => return Begin::Ask,\n                Some(round) if state.round < round => {",
        "                None => (mirror.start(), Some(false)),\n                Some(round) if state.round < round => {",
    ),
    (
        "presence is not put off",
        DIALECT,
        "        let arguments = [self.node.clone().into(), millis(PRESENT)];\n        Some(self.run(REFRESH_PRESENCE, &self.present_keys(channel), arguments))",
        "        let _ = channel;\n        None",
    ),
]


# Not found in this many schedules: the necessary order of events is too rare in the model's mixture of faults.
TOO_RARE = {
    "another life of Redis casts no doubt on what was acknowledged": "a loss in a channel that nobody follows at that time",
    "a loss that could not be marked is forgotten": "a link that breaks between finding a loss and marking it",
    "a mark of another node is not looked at": "a node that neither read the channel nor heard of its next publication",
}


def found(folder):
    """Returns the model's finding for a copy, or None."""
    command = ["cargo", "test", "--quiet", "--package", "comet", "--bin", "comet", "model"]
    environment = {**os.environ, "COMET_MODEL_RUNS": str(RUNS), "RUST_BACKTRACE": "0", "RUSTFLAGS": "-Awarnings"}
    environment["CARGO_TARGET_DIR"] = str(ROOT / "target/model-mutants")
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if "error: could not compile" in done.stderr:
        sys.exit(f"a mutant does not compile:\n{done.stderr[-2000:]}")
    if done.returncode == 0:
        return None
    return (re.search(r"panicked at .*:\n(.*)", done.stdout) or re.search(r"(.+)", done.stdout))[1][:160]


def main():
    words = sys.argv[1:]
    wrong = []
    with copied() as folder:
        try_all(folder, words, wrong)
    if wrong:
        sys.exit(f"not as expected: {', '.join(wrong)}")


def try_all(folder, words, wrong):
    for name, file, old, new in MUTANTS:
        if words and not any(word in name for word in words):
            continue
        path = folder / file
        text = path.read_text()
        if old is not None:
            # A mutant whose text no longer matches would check nothing.
            assert text.count(old) == 1, f"{name}: {text.count(old)} places in {file}"
            path.write_text(text.replace(old, new))
        why = found(folder)
        path.write_text(text)
        print(f"{'found    ' if why else 'not found'} {name}{f': {why}' if why else ''}", flush=True)
        if name not in TOO_RARE and (why is None) != (old is None):
            wrong.append(name)


if __name__ == "__main__":
    main()
