#!/usr/bin/env python3
"""Other people's TLS talks to the testbed and to comet, on every driver.

usage: peer_tls.py TESTBED COMET

curl, openssl s_client (resumption, names, application protocols, certificates of clients, both versions), Python's ssl,
Node's tls and https, a headless Chromium (https and wss), sslscan and testssl.sh. What is not installed is named as SKIPPED.
"""

import asyncio
import http.client
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time

from lib import DRIVERS, PATIENCE, Server, free_port, listening, skipped
from lib.tools import command

HERE = pathlib.Path(__file__).parent
GET = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
GREETING = b"Hello, World!"

# Findings of testssl.sh at LOW or above, and why they are acceptable.
EXPLAINED = {
    "cert_chain_of_trust": "the authority was made for this test",
    "cert_trust": "the name and the authority were made for this test",
    "cert_crlDistributionPoint": "the authority was made for this test",
    "cert_ocspURL": "the authority was made for this test",
    "cert_revocation": "the authority was made for this test",
    "cert_expirationStatus": "the certificate was made for this test",
    "cert_extlifeSpan": "the certificate was made for this test",
    "cert_notAfter": "the certificate was made for this test",
    "DNS_CAArecord": "localhost has none",
    "OCSP_stapling": "no authority here answers OCSP",
    "HSTS": "the application's to say: the testbed has no names",
    "HTTP_status_code": "it is asked for a page that is not there",
    "banner_server": "there is none",
    "security_headers": "the application's to say",
    "cipherorder_TLSv1_2": "all ciphers are good ones, so the client's order holds",
    "cipherorder_TLSv1_3": "all ciphers are good ones, so the client's order holds",
    "cipher_order": "all ciphers are good ones, so the client's order holds",
    "LUCKY13": "no cipher has CBC; testssl.sh guesses from its own list",
    "FS_KEMs": "OpenSSL before 3.5 cannot see X25519MLKEM768",
}


def run(*words, **options):
    words = [str(word) for word in words]
    return subprocess.run(words, capture_output=True, timeout=PATIENCE * 2, **options)


def make(home, name, *names, by=None, days=90):
    """Makes an authority, or a certificate signed by one, with its key."""
    key, request, certificate = (home / f"{name}.{end}" for end in ("key", "csr", "pem"))
    new = ["openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", key]
    subject = ["-subj", f"/CN={name}"]
    if by is None:
        done = run(*new, *subject, "-x509", "-days", "30", "-out", certificate)
    else:
        done = run(*new, *subject, "-out", request)
        extensions = home / f"{name}.ext"
        usage = "extendedKeyUsage=serverAuth,clientAuth\nkeyUsage=digitalSignature\nbasicConstraints=CA:FALSE\n"
        extensions.write_text(usage + "subjectAltName=" + ",".join(names))
        authority = ["-CA", home / f"{by}.pem", "-CAkey", home / f"{by}.key", "-CAcreateserial"]
        done = run("openssl", "x509", "-req", "-in", request, *authority, "-days", days, "-extfile", extensions, "-out", certificate)
    assert done.returncode == 0, done.stderr
    return certificate, key


def with_curl(home, server, authority):
    if not command("curl", "curl"):
        return skipped("curl", "not installed")
    url = f"https://localhost:{server.endpoint[1]}"
    body = home / "body"
    body.write_bytes(os.urandom(3 << 20))
    for version in (["--tls-max", "1.2"], ["--tlsv1.3"]):
        curl = ["curl", "-sS", "--max-time", PATIENCE, "--cacert", authority, *version]
        assert run(*curl, f"{url}/").stdout == GREETING
        echoed = run(*curl, "--data-binary", f"@{body}", f"{url}/echo")
        assert echoed.stdout == body.read_bytes(), echoed.stderr
        many = run(*curl, *[f"{url}/"] * 20)
        assert many.stdout == GREETING * 20, many
    # A client without TLS gets an explanation.
    plain = run("curl", "-sS", "--max-time", PATIENCE, "-w", "%{http_code}", f"http://{server.address}/").stdout
    assert plain.endswith(b"400") and b"https://" in plain, plain


def s_client(server, *words, say=GET):
    """Returns the output of openssl after it has sent input and the server has answered."""
    words = ["openssl", "s_client", "-connect", server.address, "-ign_eof", *map(str, words)]
    done = subprocess.run(words, input=say, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=PATIENCE)
    return done.stdout.decode(errors="replace")


def with_openssl(home, server, authority):
    trusting = ["-CAfile", authority, "-verify_return_error"]
    for version, name in (("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")):
        session = home / f"session{version}"
        first = s_client(server, version, *trusting, "-servername", "localhost", "-sess_out", session)
        assert f"New, {name}" in first and "Verification: OK" in first and "Hello, World!" in first, first
        again = s_client(server, version, *trusting, "-servername", "localhost", "-sess_in", session)
        assert f"Reused, {name}" in again and "Hello, World!" in again, again
    for name in ("localhost", "second.example"):
        shown = s_client(server, *trusting, "-servername", name, "-verify_hostname", name)
        assert "Verification: OK" in shown and f"subject=CN = {name}" in shown, shown
    for offered, chosen in (("http/1.1", "http/1.1"), ("spdy/1,http/1.1", "http/1.1"), ("http/1.1,h2", "h2")):
        agreed = s_client(server, *trusting, "-alpn", offered)
        assert f"ALPN protocol: {chosen}" in agreed, agreed
    refused = s_client(server, *trusting, "-alpn", "spdy/1")
    assert "no application protocol" in refused, refused
    for old in ("-tls1", "-tls1_1"):
        assert "Hello, World!" not in s_client(server, old)
    # The server refuses renegotiation (RFC 5246 section 7.2.2). No -ign_eof here: it would send the letter.
    words = ["openssl", "s_client", "-connect", server.address, "-tls1_2"]
    client = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    time.sleep(1)
    try:
        said = client.communicate(b"R\n", timeout=20)[0]
    except subprocess.TimeoutExpired:
        client.kill()
        said = client.communicate()[0]
    assert b"no renegotiation" in said, said
    # A key update (RFC 8446 section 4.6.3), after which the stream continues.
    words = ["openssl", "s_client", "-connect", server.address, "-tls1_3"]
    client = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    time.sleep(1)
    client.stdin.write(b"K\n")
    client.stdin.flush()
    time.sleep(0.5)
    client.stdin.write(GET)
    client.stdin.flush()
    # At the end of its input, openssl would exit before the answer arrives.
    said = b"".join(iter(lambda: client.stdout.read1(65536), b""))
    client.communicate(timeout=PATIENCE)
    assert b"KEYUPDATE" in said and GREETING in said, said


def with_certificates_of_clients(home, server, authority):
    trusting = ["-CAfile", authority]
    for version in ("-tls1_2", "-tls1_3"):
        without = s_client(server, version, *trusting)
        assert "Hello, World!" not in without and "certificate required" in without.replace("handshake failure", "certificate required"), without
        stranger = s_client(server, version, *trusting, "-cert", home / "stranger.pem", "-key", home / "stranger.key")
        assert "Hello, World!" not in stranger, stranger
        client = s_client(server, version, *trusting, "-cert", home / "client.pem", "-key", home / "client.key")
        assert "Hello, World!" in client, client


def with_python(home, server, authority):
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = ssl.create_default_context(cafile=authority)
        context.minimum_version = context.maximum_version = version
        connection = http.client.HTTPSConnection("localhost", server.endpoint[1], context=context, timeout=PATIENCE)
        # All byte values, many times, in both directions.
        blob = bytes(range(256)) * 20_000
        for _ in range(3):
            connection.request("POST", "/echo", blob)
            assert connection.getresponse().read() == blob
        connection.close()
        # The client ends its stream, which the server answers in kind; otherwise unwrap fails.
        with socket.create_connection(server.endpoint, PATIENCE) as raw:
            tls = context.wrap_socket(raw, server_hostname="localhost", suppress_ragged_eofs=False)
            tls.sendall(GET.replace(b"Connection: close\r\n", b""))
            said = b""
            while not said.endswith(GREETING):
                said += tls.recv(65536)
            tls.unwrap()
        # If the server ends first, the stream must be complete: Python reports a cut as an error.
        with socket.create_connection(server.endpoint, PATIENCE) as raw:
            tls = context.wrap_socket(raw, server_hostname="localhost", suppress_ragged_eofs=False)
            tls.sendall(GET)
            said = b"".join(iter(lambda: tls.recv(65536), b""))
            assert said.endswith(GREETING), said


def with_node(home, server, authority):
    if not shutil.which("node"):
        return skipped("Node", "not installed")
    done = run("node", HERE / "peer_tls_node.mjs", server.address, authority)
    assert done.returncode == 0, done.stderr.decode() + done.stdout.decode()


async def in_chromium(address):
    import browser

    program = browser.find()
    if not program:
        return skipped("Chromium", "not installed")
    chromium = browser.Browser(program, "--ignore-certificate-errors")
    try:
        page = await chromium.page(f"https://{address}/")
        assert await page.value("location.protocol") == "https:"
        await page.until("document.title.length > 0")
        script = f"""new Promise((done) => {{
            const socket = new WebSocket("wss://{address}/ws");
            socket.onopen = () => done("open");
            socket.onerror = () => done("error");
        }})"""
        assert await page.value(script) == "open"
        assert not page.faults, page.faults
    finally:
        chromium.close()


def with_chromium(comet):
    try:
        import websockets  # noqa: F401
    except ImportError:
        return skipped("Chromium", "the Python package websockets is not installed")
    asyncio.run(in_chromium(comet.address.replace("127.0.0.1", "localhost")))


def with_scanners(home, server):
    scan = command("sslscan", "sslscan")
    if scan:
        said = run(scan, "--no-colour", f"localhost:{server.endpoint[1]}").stdout.decode()
        for old in ("SSLv2", "SSLv3", "TLSv1.0", "TLSv1.1"):
            assert re.search(rf"{re.escape(old)}\s+disabled", said), said
        for good in ("TLSv1.2", "TLSv1.3"):
            assert re.search(rf"{re.escape(good)}\s+enabled", said), said
        assert "Compression enabled" not in said and "not vulnerable to heartbleed" in said, said
        assert "Session renegotiation not supported" in said or "Secure session renegotiation supported" in said, said
        weak = [line for line in said.splitlines() if re.search(r"(CBC|RC4|DES|NULL|EXPORT|MD5)", line) and "bits" in line]
        assert not weak, weak
    else:
        skipped("sslscan", "not installed")
    test = command("testssl", "testssl.sh") or command("testssl.sh")
    if not test:
        return skipped("testssl.sh", "not installed")
    report = home / "testssl.json"
    words = [test, "--quiet", "--color", "0", "--warnings", "off", "--severity", "LOW", "--jsonfile", report]
    words += ["--protocols", "--server-defaults", "--server-preference", "--fs", "--vulnerable", f"localhost:{server.endpoint[1]}"]
    subprocess.run([str(word) for word in words], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, timeout=900)
    found = json.loads(report.read_text())
    open_findings = [each for each in found if each["severity"] in ("LOW", "MEDIUM", "HIGH", "CRITICAL")]
    unexplained = [each for each in open_findings if each["id"].split(" ")[0] not in EXPLAINED]
    for each in unexplained:
        print(each)
    assert not unexplained
    print(f"testssl.sh: {len(open_findings)} findings, all explained", flush=True)


def with_renewals(home, comet_program, driver):
    """A running server loads a renewed certificate, but not an incomplete one."""
    chain, key = home / "live.pem", home / "live.key"
    shutil.copy(home / "localhost.pem", chain), shutil.copy(home / "localhost.key", key)
    command_line = [comet_program, "--driver", driver, "--demo", "--tls-cert", chain, "--tls-key", key]
    with Server(*command_line, stderr=subprocess.DEVNULL) as comet:

        def shown():
            return ssl.get_server_certificate(comet.endpoint)

        first = shown()
        with_chromium(comet)
        make(home, "renewed", "DNS:localhost,IP:127.0.0.1", by="authority")
        shutil.copy(home / "renewed.pem", chain)
        time.sleep(4)
        assert shown() == first, "half of a renewed pair is in use"
        shutil.copy(home / "renewed.key", key)
        until = time.monotonic() + PATIENCE
        while shown() == first:
            assert time.monotonic() < until, "a renewed certificate is not in use"
            time.sleep(0.2)
        comet.process.send_signal(signal.SIGHUP)
        time.sleep(0.5)
        shown()
        metrics = http.client.HTTPSConnection(*comet.endpoint, context=ssl._create_unverified_context(), timeout=PATIENCE)
        metrics.request("GET", "/metrics")
        assert b"comet_tls_handshakes_total" in metrics.getresponse().read()
        metrics.close()
        comet.stop()


def with_doctor(home, comet_program, driver, authority):
    """comet's doctor finds no problem in comet over TLS, and many in openssl's server with all old features enabled."""
    pair = ["--tls-cert", home / "localhost.pem", "--tls-key", home / "localhost.key"]

    def doctor(endpoint, *words):
        url = f"https://localhost:{endpoint[1]}"
        said = run(comet_program, "doctor", url, "--connections", 10, "--json", *words)
        assert said.stdout, said.stderr
        checks = json.loads(said.stdout)
        assert (said.returncode == 0) == all(check["verdict"] != "bad" for check in checks), said
        return checks

    with Server(comet_program, "--driver", driver, "--demo", *pair, stderr=subprocess.DEVNULL) as comet:
        checks = doctor(comet.endpoint, "--tls-ca", authority)
        amiss = [check for check in checks if check["verdict"] != "good" and not check["id"].startswith(("syn", "accept"))]
        assert not amiss and {"tls-certificate", "tls-old", "s04", "h01", "w01"} <= {check["id"] for check in checks}, amiss
        comet.stop()
    port = free_port()
    old = ["openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-cert", home / "localhost.pem", "-key", home / "localhost.key"]
    old += ["-www", "-quiet", "-tls1_2", "-cipher", "ALL:@SECLEVEL=0", "-no_ticket", "-no_cache"]
    with listening([str(word) for word in old], port):
        checks = doctor(("127.0.0.1", port), "--no-ws")
        verdicts = {check["id"]: check["verdict"] for check in checks}
        expected = {"tls-certificate": "bad", "tls-version": "fair", "tls-ciphers": "bad", "tls-resumption": "fair"}
        assert expected.items() <= verdicts.items(), verdicts


def with_handover(home, comet_program, driver, authority):
    """Clients resume their sessions with a successor, in one process and in several, and are redirected by it."""
    port = free_port()
    flags = ["--tls-cert", home / "localhost.pem", "--tls-key", home / "localhost.key", "--tls-redirect", f"127.0.0.1:{port}"]
    command_line = [comet_program, "--driver", driver, "--handover", home / f"handover-{driver}", *flags]
    trusting = ["-CAfile", authority, "-verify_return_error", "-servername", "localhost"]
    get = GET.replace(b"GET / ", b"GET /healthz ")
    with Server(*command_line, stderr=subprocess.DEVNULL) as comet:
        for version, name in (("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")):
            said = s_client(comet, version, *trusting, "-sess_out", home / f"over{version}", say=get)
            assert f"New, {name}" in said and "200 OK" in said, said
        clean = comet.command
        for prefork in (["--prefork", "2"], []):
            old, comet.command = comet.process, [*clean, *prefork]
            comet.start()
            assert old.wait(PATIENCE) == 0
            for version, name in (("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")):
                said = s_client(comet, version, *trusting, "-sess_in", home / f"over{version}", say=get)
                assert f"Reused, {name}" in said and "200 OK" in said, said
            away = run("curl", "-sS", "-w", "%{redirect_url}", f"http://127.0.0.1:{port}/a?b").stdout.decode()
            assert away == f"https://127.0.0.1:{comet.endpoint[1]}/a?b", away
        comet.stop()


def main(testbed, comet):
    with tempfile.TemporaryDirectory() as home:
        home = pathlib.Path(home)
        authority, _ = make(home, "authority")
        make(home, "others")
        first = make(home, "localhost", "DNS:localhost,IP:127.0.0.1", by="authority")
        second = make(home, "second.example", "DNS:second.example", by="authority")
        make(home, "client", "DNS:client", by="authority")
        make(home, "stranger", "DNS:stranger", by="others")
        pairs = ["--tls-cert", first[0], "--tls-key", first[1], "--tls-cert", second[0], "--tls-key", second[1]]
        for driver in DRIVERS:
            with Server(testbed, "--driver", driver, *pairs) as server:
                for check in (with_curl, with_openssl, with_python, with_node):
                    check(home, server, authority)
                if driver == DRIVERS[0]:
                    with_scanners(home, server)
                server.stop()
            with Server(testbed, "--driver", driver, *pairs, "--tls-client-ca", authority) as server:
                with_certificates_of_clients(home, server, authority)
                server.stop()
            with_renewals(home, comet, driver)
            with_handover(home, comet, driver, authority)
            with_doctor(home, comet, driver, authority)
            print(f"TLS on {driver}: all is well", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
