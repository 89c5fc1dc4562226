"""The CNI contract: each row of the environment table, names, versions, strict JSON, errors and their order."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

from plugin import cni, kube_node, process
from plugin.errors import (
    DECODE_FAILURE,
    INCOMPATIBLE_VERSION,
    INVALID_CONFIG,
    INVALID_ENVIRONMENT,
    IO_FAILURE,
    CniError,
)

VALUES = {"CNI_CONTAINERID": "c1", "CNI_NETNS": "/none", "CNI_IFNAME": "eth0", "CNI_PATH": "/opt/cni/bin"}
# https://www.cni.dev/docs/spec/#cni-operations, and CNI_PATH as skel demands it; VERSION needs nothing.
REQUIRED = {
    "ADD": ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH"],
    "DEL": ["CNI_CONTAINERID", "CNI_IFNAME", "CNI_PATH"],
    "CHECK": ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH"],
    "STATUS": ["CNI_PATH"],
    "GC": ["CNI_PATH"],
    "VERSION": [],
}
CONFIG: dict[str, Any] = {"cniVersion": "1.1.0", "name": "net", "ipam": {"type": "kube-node"}}


def environment_error(command: str, environ: dict[str, str]) -> CniError:
    """What is wrong with this environment."""
    with pytest.raises(CniError) as caught:
        cni.check_environment(command, environ)
    assert caught.value.code == INVALID_ENVIRONMENT
    return caught.value


def parse(raw: bytes, command: str = "ADD") -> cni.Request:
    """A request with this on standard input."""
    return cni.parse("/opt/cni/bin/kube-node", command, VALUES, raw)


def parse_error(raw: bytes, command: str = "ADD") -> CniError:
    """What is wrong with this standard input."""
    with pytest.raises(CniError) as caught:
        parse(raw, command)
    return caught.value


def test_commands() -> None:
    """The table of this test covers all commands."""
    assert sorted(REQUIRED) == sorted(cni.COMMANDS)


@pytest.mark.parametrize("command", REQUIRED)
def test_environment_that_suffices(command: str) -> None:
    """What a command needs is enough; what it does not need may be absent, empty or odd."""
    needed = {name: VALUES[name] for name in REQUIRED[command]}
    cni.check_environment(command, needed)
    cni.check_environment(command, {**dict.fromkeys(VALUES, ""), **needed})
    cni.check_environment(command, {**dict.fromkeys(VALUES, "/ odd :"), **needed})


@pytest.mark.parametrize("empty", [True, False])
@pytest.mark.parametrize(("command", "name"), [(command, name) for command in REQUIRED for name in REQUIRED[command]])
def test_missing_variable(command: str, name: str, empty: bool) -> None:
    """A variable that is missing, or empty, is named as skel names it."""
    environ = {**VALUES, name: ""} if empty else {key: value for key, value in VALUES.items() if key != name}
    error = environment_error(command, environ)
    assert error.msg == f"required env variables [{name}] missing"
    assert command in error.details


@pytest.mark.parametrize("command", [command for command in REQUIRED if REQUIRED[command]])
def test_all_that_is_missing_is_named(command: str) -> None:
    """All missing variables are in one error, in skel's order."""
    error = environment_error(command, {})
    assert error.msg == f"required env variables [{','.join(REQUIRED[command])}] missing"


@pytest.mark.parametrize("command", ["FOO", "add", "ADD ", "", "VERSION\n", "\udcff"])
def test_unknown_command(command: str) -> None:
    """A command that is none is named, before anything else is looked at."""
    error = environment_error(command, {})
    assert error.msg.startswith("unknown CNI_COMMAND: ")
    assert "VERSION" in error.details


def test_long_command_is_cut() -> None:
    """A message repeats only the beginning of a long value."""
    assert len(environment_error("X" * 100_000, {}).msg) < 200


IDENTIFIERS = ["c", "0", "a.b", "a-b_c.d", "a" * 64, "9" * 300, "a--", "A..", "k8s.io-pod_1"]
NO_IDENTIFIERS = ["-a", "_a", ".a", "..", ".", "a/b", "../a", "a b", " a", "a ", "a\n", "\na", "a:b", "ä", "aß"]
NO_IDENTIFIERS += ["a\udcff", "a\\b", "a%00b", "١", "a;b", "$(id)", "a*", "/", "a\t", "a\u200b"]


@pytest.mark.parametrize("value", IDENTIFIERS)
def test_container_and_network(value: str) -> None:
    """Letters, digits, '_', '.' and '-' in any number, the first a letter or digit."""
    cni.check_environment("ADD", {**VALUES, "CNI_CONTAINERID": value})
    assert parse(json.dumps({**CONFIG, "name": value}).encode()).name == value


@pytest.mark.parametrize("value", NO_IDENTIFIERS)
@pytest.mark.parametrize("command", ["ADD", "DEL", "CHECK"])
def test_bad_container(command: str, value: str) -> None:
    """A container id that could lead out of a directory, or into a shell, is refused."""
    error = environment_error(command, {**VALUES, "CNI_CONTAINERID": value})
    assert error.msg.startswith("invalid CNI_CONTAINERID ")


@pytest.mark.parametrize("value", NO_IDENTIFIERS)
def test_bad_network(value: str) -> None:
    """The same for the network's name, which is a directory of host-local's."""
    error = parse_error(json.dumps({**CONFIG, "name": value}).encode())
    assert (error.code, error.msg[:42]) == (INVALID_CONFIG, "invalid characters found in network name '"[:42])


@pytest.mark.parametrize(
    "value", ["eth0", "e", "a" * 15, "net-1", "eth0.100", "veth@if3", "€€€€€", "\udcff", "...", "-"]
)
def test_interface(value: str) -> None:
    """What the kernel takes as the name of an interface, bytes that are no UTF-8 included."""
    cni.check_environment("ADD", {**VALUES, "CNI_IFNAME": value})


@pytest.mark.parametrize(
    "value", [".", "..", "a/b", "/", "../x", "a:b", ":", "a b", " ", "a\n", "\ta", "a\u00a0b", "a\u2003", "a\x85"]
)
@pytest.mark.parametrize("command", ["ADD", "DEL", "CHECK"])
def test_bad_interface(command: str, value: str) -> None:
    """What the kernel refuses as such, or what is a path, is refused."""
    error = environment_error(command, {**VALUES, "CNI_IFNAME": value})
    assert error.msg.startswith("invalid CNI_IFNAME ")


@pytest.mark.parametrize("value", ["a" * 16, "€€€€€€", "é" * 8, "\udcff" * 16, "x" * 100_000])
def test_long_interface(value: str) -> None:
    """15 bytes, not characters, are the limit, and a message repeats only the beginning."""
    error = environment_error("ADD", {**VALUES, "CNI_IFNAME": value})
    assert (error.details, len(error.msg) < 900) == ("it is longer than 15 bytes", True)


def test_order_of_the_environment() -> None:
    """skel's order: what is missing comes before what is wrong; the container before the interface."""
    bad = {**VALUES, "CNI_CONTAINERID": "/", "CNI_IFNAME": "/"}
    assert "missing" in environment_error("ADD", {**bad, "CNI_PATH": ""}).msg
    assert "CNI_CONTAINERID" in environment_error("ADD", bad).msg


@pytest.mark.parametrize("version", cni.VERSIONS)
@pytest.mark.parametrize("command", [command for command in REQUIRED if command != "VERSION"])
def test_version_and_command(version: str, command: str) -> None:
    """CHECK came with 0.4.0, STATUS and GC with 1.1.0; the others have always been there."""
    raw = json.dumps({**CONFIG, "cniVersion": version}).encode()
    first = {"CHECK": "0.4.0", "STATUS": "1.1.0", "GC": "1.1.0"}.get(command, "0.1.0")
    if cni.VERSIONS.index(version) >= cni.VERSIONS.index(first):
        assert parse(raw, command).version == version
    else:
        error = parse_error(raw, command)
        assert error.code == INCOMPATIBLE_VERSION
        assert error.msg == f"config version does not allow {command}"


@pytest.mark.parametrize("config", [{}, {"cniVersion": None}, {"cniVersion": ""}])
def test_no_version(config: dict[str, Any]) -> None:
    """No version is 0.1.0."""
    assert parse(json.dumps({"name": "net", **config}).encode()).version == "0.1.0"


@pytest.mark.parametrize(
    "version", ["1.0", "1.2.0", "v1.0.0", "1.0.0 ", "0.5.0", "2", "latest", "1.0.0\n", "x" * 10_000]
)
def test_unknown_version(version: str) -> None:
    """Versions are compared as they stand; the error says which there are."""
    error = parse_error(json.dumps({**CONFIG, "cniVersion": version}).encode())
    assert (error.code, error.msg) == (INCOMPATIBLE_VERSION, "incompatible CNI versions")
    assert '"1.1.0"' in error.details and len(error.details) < 300


@pytest.mark.parametrize("value", [1, 1.0, True, [], {}, ["1.0.0"]])
def test_version_of_another_type(value: object) -> None:
    """A version that is no string cannot be decoded."""
    assert parse_error(json.dumps({**CONFIG, "cniVersion": value}).encode()).code == DECODE_FAILURE


@pytest.mark.parametrize("value", [1, 1.0, True, False, [], {}])
def test_name_of_another_type(value: object) -> None:
    """A name that is no string cannot be decoded."""
    assert parse_error(json.dumps({**CONFIG, "name": value}).encode()).code == DECODE_FAILURE


@pytest.mark.parametrize("raw", [b"{}", b"null", b'{"name": null}', b'{"name": ""}', b'{"cniVersion": "1.0.0"}'])
def test_no_name(raw: bytes) -> None:
    """No name is skel's error of that."""
    error = parse_error(raw)
    assert (error.code, error.msg) == (INVALID_CONFIG, "missing network name")


def test_order_of_the_configuration() -> None:
    """skel's order: JSON, name, version."""
    assert parse_error(b'{"name": "/", "cniVersion": 1').code == DECODE_FAILURE
    assert parse_error(b'{"name": "/", "cniVersion": "9"}').code == INVALID_CONFIG
    assert parse_error(b'{"name": "net", "cniVersion": "9"}').code == INCOMPATIBLE_VERSION


def test_size_limit() -> None:
    """1 MiB is read, one byte more is an error of input."""
    text = json.dumps(CONFIG).encode()
    assert parse(text + b" " * (process.STDIN_LIMIT - len(text))).name == "net"
    error = parse_error(text + b" " * (process.STDIN_LIMIT - len(text) + 1))
    assert (error.code, "1048576 bytes" in error.msg) == (IO_FAILURE, True)


NO_JSON = [
    b"",
    b" ",
    b"\n\n",
    b"{",
    b"}",
    b"{}}",
    b"{} {}",
    b"{},",
    b'{"name": "net"} x',
    b"{'name': 'net'}",
    b'{name: "net"}',
    b'{"name": "net",}',
    b'{"name": "net" "x": 1}',
    b'{"name": }',
    b'{"a": 01}',
    b'{"a": .5}',
    b'{"a": 1.}',
    b'{"a": +1}',
    b'{"a": 0x1}',
    b'{"a": 1_000}',
    b'{"a": True}',
    b'{"a": "\x01"}',
    b'{"a": "\t"}',
    b'{"a": "\\x41"}',
    b'{"a": "\\u12"}',
    b"// comment\n{}",
    b"{} # comment",
    b"\0",
    b'{"name": "net"}\0',
    b"NaN",
    b'{"a": NaN}',
    b'{"a": Infinity}',
    b'{"a": -Infinity}',
    b'{"a": 1e999}',
    b'{"a": -1e999}',
    b'{"a": [{"b": 1e400}]}',
    b"\xef\xbb\xbf{}",
    '{"name": "net"}'.encode("utf-16"),
    '{"name": "net"}'.encode("utf-16-le"),
    '{"name": "net"}'.encode("utf-32"),
    b'{"name": "\xff"}',
    b'{"name": "\xc3"}',
    b'{"name": "\xed\xa0\x80"}',
    b"\x80",
    b"[" * 100_000,
    b"[" * 100_000 + b"]" * 100_000,
    b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    b'{"a":[' * 50_000,
    b'{"name": "net", "a": ' + b"[" * 512 + b"]" * 512 + b"}",
    b"[]",
    b"1",
    b"1.5",
    b"true",
    b"false",
    b'"text"',
    b'""',
]


@pytest.mark.parametrize("raw", NO_JSON)
def test_what_is_no_json_object(raw: bytes) -> None:
    """What Go would not decode into a configuration is code 6, with a message of one short line."""
    error = parse_error(raw)
    assert error.code == DECODE_FAILURE
    assert len(error.msg) < 200 and "\n" not in error.msg


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b'{\n "name": x}', "line 2 column 10"),
        (b"\xff", "not UTF-8 (byte 0)"),
        (b"{} {}", "line 1 column 4"),
        (b'{"a": NaN}', "a number that JSON does not have"),
        (b"[" * 600 + b"]" * 600, "nested deeper than 512 levels"),
        (b"[" * 100_000, "nested deeper than 512 levels"),
        (b"[]", "not a JSON object"),
    ],
)
def test_error_says_where(raw: bytes, words: str) -> None:
    """The message says what is wrong and where."""
    assert words in parse_error(raw).msg


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b' \t\r\n{"name":"net"}\n ', {"name": "net"}),
        (b'{"name":"x","name":"net"}', {"name": "net"}),
        ('{"name":"net","ä":"€😀"}'.encode(), {"name": "net", "ä": "€😀"}),
        (b'{"name":"net","a":"\\u0000\\ud83d\\ude00"}', {"name": "net", "a": "\0😀"}),
        (b'{"name":"net","a":[1,-0,1.5,1e3,12345678901234567890]}', {"a": [1, 0, 1.5, 1000.0, 12345678901234567890]}),
        (b'{"name":"net","a":' + b"[" * 511 + b"]" * 511 + b"}", {}),
    ],
)
def test_json_that_is_accepted(raw: bytes, expected: dict[str, Any]) -> None:
    """White space, any Unicode, big numbers and reasonable depth are fine; the last of two equal keys counts."""
    config = parse(raw).config
    assert config["name"] == "net"
    assert {key: config[key] for key in expected} == expected


@pytest.mark.parametrize("half", ["\\ud800", "\\udfff", "\\udc80", "x\\ud83dx"])
def test_half_a_surrogate_pair(half: str) -> None:
    """Half a pair, which Go reads as U+FFFD, travels on as it came; as the network's name it is refused."""
    request = parse(f'{{"name": "net", "a": "{half}"}}'.encode())
    assert half.encode() in cni.encode(request.config)
    assert parse_error(f'{{"name": "{half}"}}'.encode()).code == INVALID_CONFIG


@pytest.mark.parametrize("key", ["Name", "NAME", "CniVersion", "CNIVERSION", "IPAM", "Ipam", "Args", "RuntimeConfig"])
@pytest.mark.parametrize("beside", [True, False])
def test_key_in_another_case(key: str, beside: bool) -> None:
    """Go would take such a key for the real one, with or without that beside it: refused, with what to write."""
    error = parse_error(json.dumps({**(CONFIG if beside else {}), key: {}}).encode())
    assert error.code == INVALID_CONFIG
    assert f"'{key}'" in error.msg and "write '" in error.details


@pytest.mark.parametrize("key", ["Type", "RANGES", "Subnet", "rangestart", "RangeEnd", "Gateway", "DataDir", "datadir"])
def test_ipam_key_in_another_case(key: str) -> None:
    """The same for the keys of ipam that host-local reads: another node's range could come in by it."""
    request = parse(json.dumps({**CONFIG, "ipam": {"type": "kube-node", key: "x"}}).encode())
    with pytest.raises(CniError, match=f"'ipam.{key}' is not a key") as caught:
        kube_node.setup(request)
    assert caught.value.code == INVALID_CONFIG


@pytest.mark.parametrize("key", ["ıpam", "\u212aube", "dataDir\u017f", "ipam ", "ipam\u0000", "a" * 100_000])
def test_other_keys(key: str) -> None:
    """Any other key is the main plugin's affair."""
    assert parse(json.dumps({**CONFIG, key: 1}).encode()).config[key] == 1


@pytest.mark.parametrize("key", ["arg\u017f", "ran\u0261es"])
def test_key_that_go_folds(key: str) -> None:
    """Go takes a long s for an s; what only looks alike is another key."""
    raw = json.dumps({**CONFIG, key: 1}).encode()
    if "\u017f" in key:
        assert parse_error(raw).code == INVALID_CONFIG
    else:
        assert parse(raw).config[key] == 1


@pytest.mark.parametrize("key", ["Annotation", "NodeName", "nodename", "IPv4-namespaces", "kubeConfig", "cacheseconds"])
def test_own_key_in_another_case(key: str) -> None:
    """The Go plugin takes 'Annotation' for 'annotation'; overlooked, it would give the main network's addresses."""
    request = parse(json.dumps({**CONFIG, "ipam": {"type": "kube-node", key: "x"}}).encode())
    with pytest.raises(CniError):
        kube_node.setup(request)


@pytest.mark.parametrize(
    ("config", "words", "advice"),
    [
        ({}, "network net has no 'ipam'", "kube-node"),
        ({"plugins": [{"type": "bridge", "ipam": {}}]}, "network net has no 'ipam'", "this is a list; a plugin gets"),
        ({"ipam": None}, "network net has no 'ipam'", "kube-node"),
        ({"ipam": []}, "network net has an 'ipam' that is not an object", "kube-node"),
        ({"ipam": "kube-node"}, "network net has an 'ipam' that is not an object", "kube-node"),
    ],
)
def test_no_ipam(config: dict[str, Any], words: str, advice: str) -> None:
    """Without ipam the error says which network it is and what to write."""
    request = parse(json.dumps({"name": "net", **config}).encode())
    with pytest.raises(CniError) as caught:
        request.ipam()
    assert (caught.value.code, caught.value.msg) == (INVALID_CONFIG, words)
    assert advice in caught.value.details


def test_request() -> None:
    """A request holds what it came with; plugins are looked for in CNI_PATH, then beside this one."""
    raw = json.dumps(CONFIG).encode()
    environ = {**VALUES, "CNI_PATH": "/a:/b"}
    request = cni.parse("/opt/cni/bin/kube-node", "ADD", environ, raw)
    assert (request.raw, request.config, request.environ, request.command) == (raw, CONFIG, environ, "ADD")
    assert request.ipam() == {"type": "kube-node"}
    assert request.directories() == ["/a", "/b", "/opt/cni/bin"]


def test_directory_of_a_program_called_by_a_relative_path() -> None:
    """Called as ./kube-node, this directory is meant."""
    request = cni.parse("./kube-node", "ADD", VALUES, b'{"name": "net"}')
    assert request.directories()[-1] == os.getcwd()


def test_version_answer() -> None:
    """VERSION says which versions there are, and the newest as its own."""
    assert json.loads(cni.version_answer()) == {"cniVersion": "1.1.0", "supportedVersions": list(cni.VERSIONS)}


def test_error_answer() -> None:
    """An error has the four keys of the specification; no details, no key."""
    assert json.loads(cni.error_answer(CniError(7, "msg ü\n\udcff", "details"), "0.4.0")) == {
        "cniVersion": "0.4.0",
        "code": 7,
        "msg": "msg ü\n\udcff",
        "details": "details",
    }
    assert json.loads(cni.error_answer(CniError(7, "msg"))) == {"cniVersion": "1.0.0", "code": 7, "msg": "msg"}


def test_answers_are_one_line_of_ascii() -> None:
    """Whatever is in it, an answer cannot break a line or an encoding."""
    answer = cni.encode({"a": "ü\n\udcff\0"})
    assert answer.isascii() and answer.count(b"\n") == 1 and answer.endswith(b"\n")
