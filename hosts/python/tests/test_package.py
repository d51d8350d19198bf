"""The example, and the type stubs."""

from __future__ import annotations

import ast
import pathlib
import re
import socket
import subprocess
import sys
import unittest

import wirestate
from wirestate import _core
from websockets.sync.client import connect

from .serving import everything, response
from .test_uvicorn_ws import UPGRADE, close_code, frame

HOME = pathlib.Path(__file__).parents[1]


class Example(unittest.TestCase):
    def setUp(self):
        words = [sys.executable, HOME / "examples/echo.py", "0"]
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        self.addCleanup(self.process.stdout.close)
        self.addCleanup(self.process.wait, 10)
        self.addCleanup(self.process.kill)
        self.port = int(self.process.stdout.readline().rsplit(":", 1)[1])

    def ask(self, data):
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as stream:
            stream.sendall(data)
            return everything(stream)

    def test_http(self):
        get, post = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc"
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as stream:
            stream.sendall(get + post)
            status, _, body, rest = response(stream)
            self.assertEqual((status, body), (200, b"hello\n"))
            self.assertEqual(response(stream, rest)[2], b"abc")
        self.assertTrue(self.ask(b"GET / HTTP/1.1\n\n").startswith(b"HTTP/1.1 400 "))
        self.assertEqual(self.ask(get.replace(b"1.1", b"1.0")).count(b"hello"), 1)

    def test_websocket(self):
        with connect(f"ws://127.0.0.1:{self.port}/") as conn:
            for message in ("hi", "\u20ac" * 5000, b"bytes"):
                conn.send(message)
                self.assertEqual(conn.recv(), message)
            self.assertTrue(conn.ping().wait(5))
        self.assertIn(b"early", self.ask(UPGRADE + frame(0x81, b"early") + frame(0x88)))
        self.assertEqual(close_code(self.ask(UPGRADE + frame(0x83))), 1002)
        self.assertTrue(self.ask(UPGRADE.replace(b"13", b"12")).startswith(b"HTTP/1.1 426 "))


class Readme(unittest.TestCase):
    def test_its_examples(self):
        blocks = re.findall(r"```python\n(.*?)```", (HOME / "README.md").read_text(), re.DOTALL)
        self.assertEqual(len(blocks), 2)
        for block in blocks:
            exec(block, {})


class Stubs(unittest.TestCase):
    def test_the_stubs_name_what_there_is(self):
        tree = ast.parse((HOME / "python/wirestate/_core.pyi").read_text())
        stubs = {}
        for node in tree.body:
            if isinstance(node, ast.ClassDef):
                members = [part.name if isinstance(part, ast.FunctionDef) else part.target.id for part in node.body if not isinstance(part, ast.Expr)]
                stubs[node.name] = {name for name in members if not name.startswith("__")}
            elif isinstance(node, ast.AnnAssign):
                stubs[node.target.id] = None
        there = {name for name in vars(_core) if not name.startswith("__")} | {"__version__"}
        self.assertEqual(set(stubs), there)
        for name, members in stubs.items():
            if members is not None:
                own = {member for member in vars(getattr(_core, name)) if not member.startswith("__")}
                self.assertEqual(members, own, name)

    def test_the_package_is_typed(self):
        self.assertTrue((pathlib.Path(wirestate.__file__).parent / "py.typed").exists())
