"""Standard input and environment: one JSON object in any case, and what reaches host-local is what was asked for."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

from plugin.cni import COMMANDS
from plugin.config import keys as table
from plugin.config import spelling
from tests.fuzz.anything import JSON, VARIABLE, damaged, mangled
from tests.fuzz.inside import CODES, DONE_WORDS, Answer, Inside
from tests.support.budget import examples
from tests.support.nodes import make_node

TYPES = ("kube-node", "node-annotation")
ANNOTATION = "example.com/ranges"
TEXT = 'ranges: [[{"subnet": "10.9.0.0/24"}]]'
RANGES = [[{"subnet": "10.244.1.0/24"}], [{"subnet": "fd00:10:244:1::/64"}]]
OWN = {"annotation", "cacheDir", "cacheSeconds", "ipv4-namespaces", "kubeconfig", "logfile", "loglevel", "nodeName"}
FULL: dict[str, Any] = {
    "cniVersion": "1.1.0",
    "name": "net",
    "type": "bridge",
    "args": {"cni": {"ips": ["10.244.1.9"]}},
    "runtimeConfig": {"ips": ["10.244.1.9/24"]},
    "dns": {"nameservers": ["10.0.0.10"]},
    "prevResult": {"cniVersion": "1.1.0", "ips": [{"address": "10.244.1.9/24"}]},
    "cni.dev/valid-attachments": [{"containerID": "c1", "ifname": "eth0"}],
    "ipam": {
        "type": "kube-node",
        "annotation": "",
        "dataDir": "/nonexistent/data",
        "kubeconfig": "/nonexistent/kubeconfig",
        "nodeName": "vm-002",
        "cacheSeconds": 30,
        "ipv4-namespaces": ["default"],
        "logfile": "",
        "loglevel": "info",
        "routes": [{"dst": "0.0.0.0/0"}],
        "resolvConf": "/etc/resolv.conf",
    },
}
NAMES = ("CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_ARGS", "CNI_PATH", "NODE_NAME", "KUBECONFIG", "HOME")
ENVIRONS = st.dictionaries(st.sampled_from(NAMES), VARIABLE, max_size=2)
PIECES = [b"{", b"}", b"[", b",", b'"', b"\\u0000", b"\\ud800", b"NaN", b"1e999", b"\xff", b"\0", b'"ipam":', b"null"]


def node() -> dict[str, Any]:
    """The Node that the server has."""
    return make_node("vm-002", annotations={ANNOTATION: TEXT})


def holds_to_the_contract(answer: Answer, command: str, inside: Inside) -> None:
    """One JSON object or, where none is due, nothing; never an address lost, a lease of another freed."""
    called = [each.command for each in inside.calls]
    if answer.status == 0:
        assert (answer.printed == b"") == (command not in ("ADD", "VERSION")), answer
        assert command == "ADD" or not called or set(called) <= {"DEL", "CHECK"}
    else:
        error = answer.error()
        assert error["code"] in CODES
        assert command != "DEL" or not any(word in answer.printed.decode().lower() for word in DONE_WORDS)
        assert not called, "the next plugin succeeds, so an error came before it"
    if answer.printed:
        assert isinstance(json.loads(answer.printed), dict)


@examples(200)
@given(damaged(FULL, most=4), ENVIRONS, st.sampled_from(COMMANDS), st.sampled_from(TYPES))
def test_configuration(inside: Inside, config: Any, environ: dict[str, str], command: str, name: str) -> None:
    """Any JSON in place of parts of a configuration, and odd variables, with every command of both types."""
    inside.afresh()
    inside.node = node()
    answer = inside.ask({**inside.environ(command), **environ}, json.dumps(config).encode(), name)

    holds_to_the_contract(answer, command, inside)


@examples(150)
@given(mangled(json.dumps(FULL).encode(), PIECES) | st.binary(), st.sampled_from(COMMANDS), st.sampled_from(TYPES))
def test_bytes(inside: Inside, raw: bytes, command: str, name: str) -> None:
    """Any bytes on standard input."""
    inside.afresh()
    inside.node = node()

    holds_to_the_contract(inside.ask(inside.environ(command), raw, name), command, inside)


def resembles_ours(key: str) -> bool:
    """Return whether a key is refused as a misspelling: hypothesis also tries words of the source as text."""
    ours = table.of(table.KUBE_NODE)
    parts = [each.name for each in ours if each.decides_addresses]
    return bool(spelling.meant(key, [each.name for each in ours], parts))


@examples(150)
@given(st.dictionaries(st.text(max_size=10), JSON, max_size=3), st.dictionaries(st.text(max_size=10), JSON, max_size=3))
def test_what_travels_on(inside: Inside, keys: dict[str, Any], more: dict[str, Any]) -> None:
    """Keys nobody knows reach host-local as they are; of ipam our own are gone and the ranges are this node's."""
    special = {key.casefold() for key in (*FULL, *FULL["ipam"], "ranges", "subnet", "gateway")}
    unknown, inner = ({f"x{key}": value for key, value in each.items()} for each in (keys, more))
    cache = {"cacheDir": str(inside.directory / "cache")}
    config = {**unknown, **FULL, "ipam": {**inner, **FULL["ipam"], **cache}}
    assert not {key.casefold() for key in (*unknown, *inner)} & special
    assume(not any(map(resembles_ours, inner)))
    inside.afresh()
    inside.node = node()
    answer = inside.ask(inside.environ("ADD"), json.dumps(config).encode())

    assert answer.status == 0, answer
    (called,) = inside.calls
    kept = {key: value for key, value in config["ipam"].items() if key not in OWN and value != ""}
    ipam = {**kept, "type": "host-local", "ranges": RANGES[::-1]}  # IPv6 first, with ipv4-namespaces
    assert called.config == {**config, "cniVersion": "1.0.0", "ipam": ipam}
    assert called.environ == inside.environ("ADD")


@examples(150)
@given(damaged({**FULL, "cniVersion": "1.0.0"}, most=4), ENVIRONS)
def test_delete_goes_through(inside: Inside, config: Any, environ: dict[str, str]) -> None:
    """With container, interface, network and version as they should be, nothing else can keep a lease from being freed.

    But for a dataDir that has changed: then nobody knows where it is.
    """
    ipam = config.get("ipam")
    kept = {**(ipam if isinstance(ipam, dict) else {}), "dataDir": "/nonexistent/data"}
    config = {**config, "name": "net", "cniVersion": "1.0.0", "ipam": kept}
    inside.afresh()
    variables = {key: value for key, value in environ.items() if not key.startswith("CNI_")}
    answer = inside.ask({**inside.environ("DEL"), **variables}, json.dumps(config).encode())

    assert answer == (0, b"")
    (called,) = inside.calls
    assert (called.command, called.config["name"], called.config["ipam"]["dataDir"]) == ("DEL", "net", kept["dataDir"])


@examples(100)
@given(damaged(FULL, most=1), damaged(FULL, most=2), ENVIRONS)
def test_short_way(inside: Inside, first: Any, second: Any, environ: dict[str, str]) -> None:
    """After one request, another gets from the short way what the ordinary way would have given it."""
    requests = [json.dumps(each).encode() for each in (first, second)]
    inside.node = node()
    found = []
    for warm in (True, False):
        inside.afresh()
        if warm:
            inside.ask(inside.environ("ADD", "c0"), requests[0])
            inside.calls.clear()
        answer = inside.ask({**inside.environ("ADD"), **environ}, requests[1])
        found.append((answer.status, json.loads(answer.printed), list(inside.calls)))

    assert found[0] == found[1]
