"""Node objects: any JSON in any place of them gives this node's ranges, by other rules than ours, or a clear error."""

from __future__ import annotations

import ipaddress
import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugin.addresses import annotated
from plugin.errors import CniError
from plugin.kube import answers
from tests.addresses.test_annotation import reference
from tests.fuzz.anything import JSON, damaged, mangled
from tests.fuzz.inside import Inside
from tests.support.budget import examples
from tests.support.nodes import make_node

NAME = "vm-002"
ANNOTATION = "example.com/ranges"
CIDRS = st.sampled_from(["10.0.1.0/24", "10.0.1.5/24", "fd00::/64", "::ffff:10.0.0.0/120", "10.0.0.0", "", " ", "0/0"])
MAPPED = {"::ffff:10.0.0.0/120": "10.0.0.0/24"}  # IPv4 to host-local
LEAVES = JSON | CIDRS | st.lists(CIDRS, max_size=3) | st.lists(CIDRS, max_size=3).map(",".join)
TEXTS = st.sampled_from(
    ["", "{", 'ranges: [[{"subnet": "10.9.0.0/24"}]]', '{"ranges": []}', "a: 1, b: 2", '"dataDir": "x"']
)


def small(text: str = "10.9.0.0/24") -> dict[str, Any]:
    """A Node without what nobody reads."""
    node = make_node(NAME, annotations={ANNOTATION: text})
    for kept, keys in (("metadata", ("name", "uid", "annotations")), ("status", ("nodeInfo",))):
        node[kept] = {key: node[kept][key] for key in keys}
    return node


def networks_of(cidrs: list[str]) -> list[Any]:
    """The networks that these texts mean if each is proper and usable; else none."""
    try:
        networks = [ipaddress.ip_network(MAPPED.get(each, each)) for each in cidrs if "/" in each]
    except ValueError:
        return []
    usable = all(network.network_address.packed[0] for network in networks)
    return networks if usable and len(networks) == len(cidrs) else []


def ranges(cidrs: list[str]) -> list[Any] | None:
    """What podCIDRs mean: one or two of different families."""
    networks = networks_of(cidrs)
    families = {network.version for network in networks}
    return [[{"subnet": str(each)}] for each in networks] if 1 <= len(networks) == len(families) else None


def sets(cidrs: list[str]) -> list[Any] | None:
    """What an annotation means: any number that do not overlap, one set for each family."""
    networks = networks_of(cidrs)
    pairs = itertools.combinations(networks, 2)
    if not networks or any(one.version == other.version and one.overlaps(other) for one, other in pairs):
        return None
    families = list(dict.fromkeys(network.version for network in networks))
    return [[{"subnet": str(each)} for each in networks if each.version == family] for family in families]


def below(value: Any, *keys: str) -> Any:
    """What is under these keys, None when there is no such thing."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


@examples(250)
@given(damaged(small(), LEAVES, 3))
def test_pod_cidrs(inside: Inside, node: Any) -> None:
    """host-local gets spec.podCIDRs, or spec.podCIDR where that is all there is, or the pod an error."""
    inside.afresh()
    inside.node = node
    listed = below(node, "spec", "podCIDRs")
    single = below(node, "spec", "podCIDR")
    cidrs = listed if isinstance(listed, list) and listed else [single]
    expected = ranges([each for each in cidrs if isinstance(each, str) and each])
    config = {"cniVersion": "1.0.0", "name": "net", "ipam": {"type": "kube-node"}}
    answer = inside.ask(inside.environ("ADD"), json.dumps(config).encode())

    if expected:
        assert answer.status == 0, (answer, expected)
        assert inside.calls[0].config["ipam"]["ranges"] == expected
    else:
        assert answer.error()["code"] in (11, 100)
        assert inside.calls == []


@examples(150)
@given(damaged(small(), LEAVES, 2))
def test_annotation_of_cidrs(inside: Inside, node: Any) -> None:
    """The same for a list of CIDRs in an annotation."""
    inside.afresh()
    inside.node = node
    text = below(node, "metadata", "annotations", ANNOTATION)
    expected = sets([each.strip(" \t\r\n") for each in text.split(",")]) if isinstance(text, str) else None
    config = {"cniVersion": "1.0.0", "name": "net", "ipam": {"type": "kube-node", "annotation": ANNOTATION}}
    answer = inside.ask(inside.environ("ADD"), json.dumps(config).encode())

    if expected:
        assert answer.status == 0, (answer, expected)
        assert inside.calls[0].config["ipam"]["ranges"] == expected
    else:
        assert answer.error()["code"] == 100
        assert inside.calls == []


@examples(150)
@given(damaged(small('ranges: [[{"subnet": "10.9.0.0/24"}]]'), JSON | TEXTS, 2))
def test_annotation_of_configuration(inside: Inside, node: Any) -> None:
    """node-annotation hands on what the text means to a reader written otherwise, or gives an error of ours."""
    inside.afresh()
    inside.node = node
    text = below(node, "metadata", "annotations", ANNOTATION)
    config = {"cniVersion": "1.0.0", "name": "net", "ipam": {"type": "node-annotation", "annotation": ANNOTATION}}
    answer = inside.ask(inside.environ("ADD"), json.dumps(config).encode(), "node-annotation")
    expected, code = told(text)
    if code:
        assert (answer.error()["code"], inside.calls) == (code, [])
    else:
        assert inside.calls[0].config["ipam"] == {"type": "host-local", **expected}


def told(text: object) -> tuple[dict[str, Any], int]:
    """What host-local gets by this annotation, and 0; or the code of the error. 7: it cannot be read, 100: not used."""
    try:
        if not isinstance(text, str):
            return {}, 100
        annotated.refuse_cidrs(text, "")
        expected = reference(text)
        annotated.check(expected, {}, "")
    except ValueError:
        return {}, 7
    except CniError:
        return {}, 100
    return expected, 0


BODY = json.dumps(small()).encode()
PIECES = [b"{", b"}", b'"', b"Status", b"\xff", b'"kind":"Status",', b"null", b"[" * 2000]
HEADERS = st.dictionaries(st.sampled_from(["Location", "Retry-After", "Content-Type"]), st.text(max_size=20))
STATUSES = st.sampled_from([200, 201, 204, 206, 301, 302, 400, 401, 403, 404, 410, 418, 429, 500, 501, 503, 504, 999])


@examples(250)
@given(STATUSES, HEADERS, damaged(small()).map(json.dumps).map(str.encode) | mangled(BODY, PIECES) | st.binary())
def test_answer_of_a_server(status: int, headers: dict[str, str], body: bytes) -> None:
    """What any HTTP answer gives is the Node asked for, or an error of ours in printable words."""
    try:
        node = answers.checked(answers.Answer(status, headers, body), "Node", NAME, "API server https://a:1")
    except CniError as error:
        assert error.msg.isprintable() and error.code in (11, 100)
    else:
        assert (status, json.loads(body)) == (200, node)
        assert (node["kind"], node["metadata"]["name"]) == ("Node", NAME)


@pytest.mark.parametrize("status", [401, 403, 404])
@examples(100)
@given(st.dictionaries(st.sampled_from(["kind", "reason", "message", "status"]), JSON, max_size=4))
def test_clear_no(status: int, reply: dict[str, Any]) -> None:
    """Whatever else a refusal says, 401 is one; 403 and 404 are where they have an API server's words."""
    body = json.dumps({"kind": "Status", "reason": "NotFound", "message": "no", **reply}).encode()
    with pytest.raises(CniError) as raised:
        answers.checked(answers.Answer(status, {}, body), "Node", NAME, "API server https://a:1")
    assert raised.value.code == 100
