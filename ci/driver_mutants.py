#!/usr/bin/env python3
"""Breaks copies of the example driver (drivers/tests/smol, and driver-common's tasks, of which it is made), one fault at a
time, and runs the conformance suite on each: does the suite catch the fault?

usage: ci/driver_mutants.py [--jobs N] [WORD...]     only mutants whose name has one of the words

Fails when a mutant that must be caught is not, or one that is known to survive is caught.
"""

import argparse
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TIMEOUT = 180
# The example driver's external dependencies, in the versions that the crate `drivers` uses.
OTHERS = ["smol", "graviola", "rcgen", "rustls"]

DRIVER = "suite/smol/driver.rs"
TASK = "driver-common/src/tasks/task.rs"
QUEUE = "driver-common/src/tasks/queue.rs"
ADMISSION = "driver-common/src/tasks/admission.rs"

READ = "transfer(Pin::new(&mut *self.0).poll_read(self.1, buffer))"
WRITE = "transfer(Pin::new(&mut *self.0).poll_write(self.1, bytes))"
VECTORED = "transfer(Pin::new(&mut *self.0).poll_write_vectored(self.1, slices))"
STREAM_END = "if end.await.reset {"
ACCEPT_ERROR = "group.stats.accept_pauses.fetch_add(1, Ordering::Relaxed);\n                    Timer::after(PAUSE).await;"
GUARD = "let turned = catch_unwind(AssertUnwindSafe(|| {"

# Name, file, old text, new text.
MUTANTS = [
    ("spins on a write that would block", TASK, ("self.interest = interest;\n", "self.interest = interest;\n if interest.write { waker.wake_by_ref(); }\n")),
    ("spins while paused", TASK, ("self.interest = interest;\n", "self.interest = interest;\n if !interest.read { waker.wake_by_ref(); }\n")),
    ("has an unbounded mailbox", QUEUE, ("state.messages.len() >= self.capacity", "state.messages.len() == usize::MAX")),
    ("answers Ok when the mailbox is full", QUEUE, ("return Err(SendError::Full(message));", "return Ok(());")),
    ("loses messages", QUEUE, ("let message = state.messages.pop_front();", "let mut message = state.messages.pop_front(); if state.messages.len() > 3 { message = state.messages.pop_front(); }")),
    ("tells messages out of order", QUEUE, ("state.messages.pop_front()", "state.messages.pop_back()")),
    ("wakes nobody for a message", QUEUE, ("if state.messages.len() == 1 {", "if state.messages.len() == 2 {")),
    ("does not close the mailbox", TASK, ("count(&self.group.stats.messages_late, mailbox.close() as u64);", "let _ = mailbox;")),
    ("writes once per message", TASK, ("waiting.take(budget)", "waiting.take(budget.min(1))")),
    ("has no guard around a turn", TASK, (GUARD, "let turned = Ok::<_, ()>((|| {"), ("        }));\n        match turned {", "        })());\n        match turned {")),
    ("has no guard around drop", TASK, ("catch_unwind(AssertUnwindSafe(|| drop(connection))).is_err()", "{ drop(connection); false }")),
    ("has no guard around the factory", ADMISSION, ("let made = catch_unwind(AssertUnwindSafe(|| factory(&Peer::new(&source))));", "let made = Ok::<_, ()>(factory(&Peer::new(&source)));")),
    ("ends a panicked connection without a reset", TASK, ("reason: Reason::Panicked,\n                    reset: true,", "reason: Reason::Panicked,\n                    reset: false,")),
    ("kills nothing at the deadline", DRIVER, ("group.enter(Phase::Killing)", "Vec::new()")),
    ("kills before the deadline", DRIVER, ("Stopping::new(now, drain,", "Stopping::new(now, drain / 4,")),
    ("tells nobody to stop", TASK, ("                turn.stop();\n", "")),
    ("forgets to stop one whose timer has fired", TASK, ("self.timer.is_none() || self.fired", "self.timer.is_none()")),
    ("tells stop twice", TASK, ("let told = !core::mem::replace(stopped, true);", "let told = !core::mem::replace(stopped, true) || turn.connection().is_open();")),
    ("goes on accepting while stopping", DRIVER, ("accepting = None;", "")),
    ("leaves the listener open while stopping", DRIVER, ("accepting = None;", "core::mem::forget(accepting.take());")),
    ("ends accepting after an error", DRIVER, (ACCEPT_ERROR, "core::future::pending::<()>().await;")),
    ("ends with an accept error", DRIVER, (ACCEPT_ERROR, "panic!();")),
    ("refuses without a reset", DRIVER, ("Err(Refused) => driver_common::reset(&stream),", "Err(Refused) => {}")),
    ("resets where it should close", DRIVER, (STREAM_END, "if end.await.reset || true {")),
    ("closes where it should reset", DRIVER, (STREAM_END, "if end.await.reset && false {")),
    ("keeps the socket after the end", DRIVER, (STREAM_END, "let reset = end.await.reset; let stream = core::mem::ManuallyDrop::new(stream); let stream = &*stream; if reset {"), ("driver_common::reset(&stream);\n    }\n}", "driver_common::reset(stream);\n    }\n}")),
    ("has a clock that is early", TASK, ("Scratch::lend(self.group.config.limits, Instant::now(),", "Scratch::lend(self.group.config.limits, Instant::now() + std::time::Duration::from_millis(20),")),
    ("has timers that are late", DRIVER, ("map_or_else(Timer::never, Timer::at)", "map_or_else(Timer::never, |at| Timer::at(at + Duration::from_millis(700)))")),
    ("has no timers", DRIVER, ("timer = next.map_or_else(Timer::never, Timer::at);", "let _ = next; timer = Timer::never();")),
    ("does not move a timer nearer", TASK, ("(Some(deadline), Some(armed)) => deadline < armed,", "(Some(_), Some(_)) => false,")),
    ("lets a late deadline win over input", TASK, ("if interest.read && !(due && self.looked) {", "if interest.read && !due {")),
    ("fires a deadline before the input that woke its task", TASK, (".is_some_and(|armed| armed <= turn.now() && group.has_fired(armed));", ".is_some_and(|armed| armed <= turn.now());"), ("if interest.read && !(due && self.looked) {", "if interest.read && !due {")),
    ("does not tell eof", DRIVER, (READ, "match %s { Transfer::Bytes(0) => Transfer::Blocked, other => other }" % READ)),
    ("does not tell connected", TASK, ("                turn.connected();\n", "")),
    ("tells connected twice", TASK, ("turn.connected();", "turn.connected(); turn.connected();")),
    ("reads while paused", TASK, ("if interest.read && !(due && self.looked) {", "if !(due && self.looked) {")),
    ("ignores Again", TASK, ("                    write: true,\n                };\n                waker.wake_by_ref();", "                    write: true,\n                };")),
    ("reads before again", TASK, ("Settled::Again => Interest::default(),", "Settled::Again => Interest { read: true, write: false },")),
    ("tells nothing else to one that asks for again", TASK, ("            settled = turn.settle(transport);\n        }\n        let mut late", "            settled = turn.settle(transport);\n            if settled == Settled::Again { return settled; }\n        }\n        let mut late")),
    ("reads one connection for as long as it sends", TASK, ("const ROUNDS: usize = 4;", "const ROUNDS: usize = 4_000;")),
    ("does not half-close", DRIVER, ("let _ = self.0.get_ref().shutdown(Shutdown::Write);", "let _ = Shutdown::Write;")),
    ("closes both ways where it should half-close", DRIVER, ("shutdown(Shutdown::Write)", "shutdown(Shutdown::Both)")),
    ("takes a short write for a whole one", DRIVER, (WRITE, "match %s { Transfer::Bytes(_) => Transfer::Bytes(bytes.len()), other => other }" % WRITE)),
    ("takes a short vectored write for a whole one", DRIVER, (VECTORED, "match %s { Transfer::Bytes(_) => Transfer::Bytes(slices.iter().map(|slice| slice.len()).sum()), other => other }" % VECTORED)),
    ("writes slices in the wrong order", DRIVER, (VECTORED, "let slices: Vec<IoSlice<'_>> = slices.iter().rev().map(|slice| IoSlice::new(slice)).collect(); %s" % VECTORED.replace("slices)", "&slices)"))),
    ("waits after a short write for nothing", DRIVER, ("const SHORT_SEND_BLOCKS: bool = false;", "const SHORT_SEND_BLOCKS: bool = true;")),
    ("does not see that the transport failed", DRIVER, ("|error| Transfer::Failed(error.kind())", "|_| Transfer::Blocked")),
    ("forgets to accept in time", DRIVER, ("smol::future::yield_now().await;", "Timer::after(Duration::from_secs(15)).await;")),
    ("does not pause after an accept error", DRIVER, (ACCEPT_ERROR, "")),
]

# These mutants survive, for these reasons.
SURVIVE = {
    "has no guard around drop": "harmful where an executor lets a task's panic through; async-executor spawns with propagate_panic(true), which keeps it in the task's handle, so that only the counter is wrong",
    "lets a late deadline win over input": "equivalent on smol: async-io watches sockets in a thread of its own, so that input wakes its task while the executor is held up, before the worker fires a timer; what fires without waiting for the worker is the next mutant, which is caught",
    "tells connected twice": "equivalent: Turn::connected does nothing the second time",
    "does not pause after an accept error": "harmful, but a suite that has taken all descriptors cannot look at threads; t07 of drivers/tests/faults.rs, which counts the pauses, fails",
}


def prepare(folder):
    """A workspace with copies of the mutated crates; everything else is used in place."""
    if folder.exists():
        for part in ("driver-common", "suite"):
            shutil.rmtree(folder / part, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    manifest = (ROOT / "Cargo.toml").read_text()
    manifest = re.sub(r"members = \[.*?\]", 'members = ["driver-common", "suite"]', manifest, flags=re.S)
    manifest = re.sub(r"^(exclude|default-members) = .*\n", "", manifest, flags=re.M)
    manifest = re.sub(r'path = "(?!driver-common)([^"]*)"', lambda match: f'path = "{ROOT}/{match[1]}"', manifest)
    (folder / "Cargo.toml").write_text(manifest)
    shutil.copy(ROOT / "Cargo.lock", folder)
    # The copies get the current time, so that cargo rebuilds mutants of an earlier run.
    shutil.copytree(ROOT / "driver-common", folder / "driver-common", copy_function=shutil.copy)
    shutil.copytree(ROOT / "drivers/tests/smol", folder / "suite/smol", copy_function=shutil.copy)
    # The layer around which the suite runs stays in place.
    main = folder / "suite/smol/main.rs"
    main.write_text(main.read_text().replace('path = "../../../', f'path = "{ROOT}/'))
    (folder / "suite/src").mkdir()
    (folder / "suite/src/lib.rs").write_text("")
    manifest = (ROOT / "drivers/Cargo.toml").read_text()
    others = "\n".join(re.search(rf"^{name} = .*$", manifest, flags=re.M)[0] for name in OTHERS)
    (folder / "suite/Cargo.toml").write_text(
        "[package]\nname = \"suite\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n"
        "[dependencies]\ndriver-common.workspace = true\n"
        "proto-proxy = { workspace = true, features = [\"protocol\"] }\n"
        "proto-tls = { workspace = true, features = [\"graviola\"] }\n"
        "protocol = { workspace = true, features = [\"testing\"] }\n"
        f"{others}\n\n[[test]]\nname = \"smol\"\npath = \"smol/main.rs\"\n"
    )


def build(folder):
    command = ["cargo", "test", "-q", "-p", "suite", "--test", "smol", "--no-run", "--message-format=json"]
    built = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True)
    if built.returncode:
        return None, re.sub(r'.*"rendered":"(.*?)","\$message_type.*', r"\1", built.stdout)[-2000:] + built.stderr[-500:]
    programs = re.findall(r'"executable":"([^"]+)"', built.stdout)
    return programs[-1], ""


def environment():
    return {**os.environ, "RUSTFLAGS": "-Awarnings", "RUST_BACKTRACE": "0", "CARGO_TARGET_DIR": "target"}


def suite(program):
    """Runs the suite until a check fails. Returns why it failed, or None."""
    arguments = [program, "--ignored", "--exact", "smol_conforms", "--nocapture"]
    process = subprocess.Popen(
        arguments, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    )
    over = []
    timer = threading.Timer(TIMEOUT, lambda: (over.append(True), process.kill()))
    timer.start()
    why, rule, failing = None, "", False
    for line in process.stdout:
        if failing:
            why = line.strip()
            break
        if re.match(r"(driver )?rule \d+: ", line):
            rule = line.strip()
        # The checks panic in the test's thread.
        failing = line.startswith("thread 'smol_conforms'") and "conformance" in line
    if why:
        process.kill()
    process.stdout.close()
    code = process.wait()
    timer.cancel()
    if why:
        return why
    if over:
        return f"no end after {TIMEOUT} s, in {rule}"
    return None if code == 0 else f"ended with {signal.Signals(-code).name if code < 0 else code}, in {rule}"


def worker(number, jobs, results):
    folder = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve() / f"driver-mutants/{number}"
    prepare(folder)
    while True:
        try:
            name, file, *changes = jobs.get_nowait()
        except queue.Empty:
            return
        path = folder / file
        before = text = path.read_text()
        for old, new in changes:
            if text.count(old) < 1:
                results[name] = ("stale", f"{file} has no {old!r}")
                break
            text = text.replace(old, new)
        else:
            path.write_text(text)
            program, error = build(folder)
            if program is None:
                results[name] = ("stale", f"does not compile: {error}")
            else:
                why = suite(program)
                results[name] = ("survives", "") if why is None else ("caught", why)
            path.write_text(before)
        print(f"{results[name][0]:<9}{name}: {results[name][1][:300]}", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("words", nargs="*")
    given = parser.parse_args()
    chosen = [mutant for mutant in MUTANTS if not given.words or any(word in mutant[0] for word in given.words)]
    jobs, results = queue.Queue(), {}
    # The unmodified driver must pass.
    for mutant in [("nothing is broken", DRIVER), *chosen]:
        jobs.put(mutant)
    threads = [threading.Thread(target=worker, args=(number, jobs, results)) for number in range(given.jobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expected = {name: "survives" if name in SURVIVE else "caught" for name, *_ in chosen}
    expected["nothing is broken"] = "survives"
    wrong = [name for name, verdict in expected.items() if results.get(name, ("lost",))[0] != verdict]
    caught = sum(results[name][0] == "caught" for name, *_ in chosen if name in results)
    print(f"{caught} of {len(chosen)} mutants are caught")
    for name, why in SURVIVE.items():
        print(f"known to survive: {name}: {why}")
    if wrong:
        sys.exit(f"not as expected: {', '.join(wrong)}")


if __name__ == "__main__":
    main()
