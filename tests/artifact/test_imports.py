"""What the built archive imports: the CNI path costs milliseconds, and each module some of them."""

from __future__ import annotations

import re
import subprocess

import pytest

from tests.artifact.conftest import Built
from tests.support import parts
from tests.support.dist import ARCHIVE
from tests.support.runtime import Call, Pod

pytestmark = pytest.mark.exact
PYTHONS = parts.pythons()

# What site would import in any case, and reading an environment and a file needs.
BASE = {"__future__", "errno", "_collections_abc", "_stat", "abc", "genericpath", "os", "posixpath", "stat"}
# What json brings along, in any Python from 3.9 on: re, and by that enum.
JSON = {
    *("_collections", "_functools", "_heapq", "_json", "_locale", "_operator", "_sre", "collections", "copyreg"),
    *("enum", "functools", "heapq", "itertools", "json", "json.decoder", "json.encoder", "json.scanner", "keyword"),
    *("operator", "re", "re._casefix", "re._compiler", "re._constants", "re._parser", "reprlib", "sre_compile"),
    *("sre_constants", "sre_parse", "types"),
}
# Those of the warm path are loaded as one block, which is no import.
START = {"gc", "plugin.__main__", "plugin.start"}
LEASES = {f"plugin.leases{name}" for name in ("", ".delegate", ".hostlocal", ".records", ".release")}
CONFIG = {f"plugin.config{name}" for name in ("", ".settings", ".values")}
GROUND = {f"plugin.{name}" for name in ("cache", "cni", "errors", "log", "plan", "regular")}
VERBS = START | LEASES | CONFIG | GROUND | {"plugin.verbs"}
RELEASE = VERBS | {"plugin.config.keys", "plugin.kube_node", "plugin.config.trust"}
# What is about to be given to host-local is checked; for a release, only if there is no store, as here.
PATHS = {"plugin.config.directories", "plugin.leases.hostpaths"}

ALLOWED = {
    "VERSION": BASE | JSON | VERBS,
    "ADD": BASE
    | JSON
    | RELEASE
    | PATHS
    | {"_blake2", "plugin.leases.allocation", "plugin.leases.conflict", "plugin.start.ordinary", "select"},
    "short ADD": {"gc"},
    "DEL": BASE | JSON | RELEASE | PATHS,
    "CHECK": BASE | JSON | RELEASE | PATHS,
    "STATUS": BASE | JSON | RELEASE | {"plugin.leases.fullness"} | PATHS,
    "GC": BASE | JSON | RELEASE | {"plugin.leases.garbage"},
    "error": BASE | JSON | VERBS,
}


def imported(python: str, code: str, call: Call) -> set[str]:
    """The modules that a Python imports on the way, besides those it starts with."""

    def modules(arguments: tuple[str, ...], environ: dict[str, str], stdin: bytes) -> set[str]:
        command = [python, "-ISX", "importtime", "-c", *arguments]
        done = subprocess.run(command, env=environ, input=stdin, capture_output=True, check=False)
        return set(re.findall(r"^import time:.*\| +(\S+)$", done.stderr.decode(), re.MULTILINE))

    return modules((code, *call.argv), call.environ, call.stdin) - modules(("pass",), {}, b"")


def calls(built: Built) -> dict[str, Call]:
    """A process for each row of ALLOWED, in an order in which each finds what it needs."""
    runtime, config = built.runtime(), built.node.config("1.1.0")
    found = {name: runtime.call(name, config, Pod("a")) for name in ("VERSION", "ADD", "DEL", "CHECK")}
    found["short ADD"] = found["ADD"]
    found.update({name: runtime.call(name, config) for name in ("STATUS", "GC")})
    found["error"] = found["ADD"]._replace(stdin=b"garbage")
    return found


@pytest.mark.parametrize("version", PYTHONS)
def test_imports(built: Built, version: str) -> None:
    """No command imports more than it is allowed to, in any Python."""
    code = built.by_first_line("")[-1]
    built.prepare(PYTHONS[version])
    extra = {
        name: sorted(imported(PYTHONS[version], code, call) - ALLOWED[name]) for name, call in calls(built).items()
    }
    assert extra == {name: [] for name in ALLOWED}
    assert built.node.next.commands() == ["ADD", "DEL", "CHECK", "ADD"]


def test_allowed_is_no_more_than_needed(built: Built) -> None:
    """A module of ours that no command imports any more is no longer allowed."""
    code, python = built.by_first_line("")[-1], next(iter(PYTHONS.values()))
    built.prepare(python)
    seen = set().union(*(imported(python, code, call) for call in calls(built).values()))
    assert {name for name in set().union(*ALLOWED.values()) if name.startswith("plugin")} <= seen


@pytest.mark.parametrize("version", PYTHONS)
def test_importtime_sees_everything(built: Built, version: str) -> None:
    """The measure itself: what a command certainly imports is in what it is said to import."""
    code = built.by_first_line("")[-1]
    assert {"plugin.verbs", "json"} <= imported(PYTHONS[version], code, calls(built)["VERSION"])


def test_code_of_the_first_line(built: Built) -> None:
    """The code that these tests run is what the kernel passes to Python."""
    first = built.by_first_line("/usr/bin/python3")
    with open(ARCHIVE, "rb") as file:
        line = file.readline().decode().rstrip("\n")
    assert line == f"#!{first[0]} {first[1]}c{first[-1]}"
