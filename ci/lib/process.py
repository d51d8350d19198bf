"""Starts and stops servers."""

import contextlib
import os
import signal
import socket
import subprocess
import time

# Both drivers, by name.
DRIVERS = ("epoll", "tokio")
# Seconds to wait for an event, on a busy machine.
PATIENCE = 60


class Server:
    """One of our programs that serve, which says `listening on ADDRESS` when it does. A `with` block kills it at its end.

    `command` is its command without --listen; keywords are variables of its environment. After `kill`, `start` starts it again
    at the same address.
    """

    def __init__(self, *command, stderr=None, **environment):
        self.command = [str(word) for word in command]
        self.stderr = stderr
        self.environment = os.environ | environment
        # HOST:PORT, and the same as a pair for sockets.
        self.address = "127.0.0.1:0"
        self.endpoint = None
        self.start()

    def start(self):
        self.process = subprocess.Popen(
            [*self.command, "--listen", self.address],
            stdout=subprocess.PIPE,
            stderr=self.stderr,
            text=True,
            env=self.environment,
        )
        line = self.process.stdout.readline()
        if not line.startswith("listening on "):
            self.kill()
            raise AssertionError(f"{self.command[0]} does not serve: {line!r}")
        self.address = line.split()[-1].removeprefix("http://").removeprefix("https://")
        host, port = self.address.rsplit(":", 1)
        self.endpoint = (host, int(port))

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        """Asks the server to end, and checks that it does so successfully."""
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(PATIENCE)
        assert code == 0, f"{self.command[0]} ended with {code}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()


def free_port():
    """Returns a free port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for_port(port, process):
    """Waits until `process` listens on the port."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        assert process.poll() is None, f"{process.args[0]} ended with {process.returncode}"
        time.sleep(0.05)
    raise AssertionError(f"{process.args[0]} does not listen on port {port}")


def end(process):
    """Ends a process, by force if needed."""
    process.terminate()
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextlib.contextmanager
def listening(command, port, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
    """Another project's server, from when it listens on `port` until the block ends."""
    process = subprocess.Popen(command, stdout=stdout, stderr=stderr)
    try:
        wait_for_port(port, process)
        yield process
    finally:
        end(process)
