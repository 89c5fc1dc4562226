"""The start of the program: which way a call goes, and one JSON document whatever happens."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from plugin import deadline
from plugin.errors import CniError
from plugin.start import failure
from plugin.start.warm import Request, is_plain
from tests.support import recorder
from tests.support.recorder import Node
from tests.support.runtime import Answer, Call, Pod, run

POD = Pod("web-0")
SECRET = "hunter2"


@pytest.fixture
def node(tmp_path: Path) -> Node:
    """A node with a recording host-local."""
    return recorder.make(tmp_path)


def add(node: Node, before: str = "", **ipam: Any) -> Answer:
    """An ADD, after these statements."""
    return node.runtime(before).run("ADD", node.config(**ipam), POD)


def error(answer: Answer) -> dict[str, Any]:
    """The error object; there is no result, no traceback and no secret."""
    document = answer.document()
    assert answer.status == 1
    assert set(document) <= {"cniVersion", "code", "msg", "details"}
    assert "Traceback" not in answer.stderr
    assert SECRET not in answer.stderr + answer.stdout.decode()
    return document


def called(node: Node, *arguments: str, name: str = "kube-node", **environ: str) -> Answer:
    """A call as an operator makes it."""
    runtime = node.runtime()
    argv = (*runtime.interpreter, str(node.directory / name), *arguments)
    return run(Call(argv, {**runtime.environ, **environ}, b""))


@pytest.mark.parametrize("name", ["kube-node", "node-ipam.pyz"])
def test_no_command_and_no_argument(node: Node, name: str) -> None:
    """Called by hand without anything: what this is, on stderr, and no failure."""
    answer = called(node, name=name)
    assert (answer.status, answer.stdout) == (0, b"")
    assert "CNI IPAM plugin" in answer.stderr and "1.1.0" in answer.stderr


def test_arguments_are_an_operators(node: Node) -> None:
    """With an argument it is the operator's tool, whatever CNI_COMMAND says."""
    answer = called(node, "version", CNI_COMMAND="VERSION")
    assert answer.status == 0
    assert answer.stdout.startswith(b"kube-node ")


def test_empty_command_is_none(node: Node) -> None:
    """A CNI_COMMAND that is empty is not set."""
    assert called(node, CNI_COMMAND="").status == 0


def test_version_reads_no_stdin(node: Node) -> None:
    """VERSION answers though nobody ever closes its standard input."""
    runtime = node.runtime()
    argv = [*runtime.interpreter, str(node.directory / "kube-node")]
    environ = {**runtime.environ, "CNI_COMMAND": "VERSION"}
    with subprocess.Popen(argv, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout
        assert json.loads(child.stdout.read())["cniVersion"] == "1.1.0"
    assert child.returncode == 0


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, True),
        ({"CNI_IFNAME": "net1"}, True),
        ({"CNI_IFNAME": "a" * 15}, True),
        ({"CNI_CONTAINERID": "0123456789abcdef" * 4}, True),
        ({"CNI_IFNAME": "a" * 16}, False),
        ({"CNI_IFNAME": ""}, False),
        ({"CNI_IFNAME": "é"}, False),
        ({"CNI_IFNAME": "../x"}, False),
        ({"CNI_IFNAME": "a b"}, False),
        ({"CNI_IFNAME": "\udcff"}, False),
        ({"CNI_CONTAINERID": ""}, False),
        ({"CNI_CONTAINERID": "a/b"}, False),
        ({"CNI_CONTAINERID": "١"}, False),
        ({"CNI_CONTAINERID": "a\n"}, False),
        ({"CNI_NETNS": ""}, False),
        ({"CNI_PATH": ""}, False),
    ],
)
def test_plain_environment(more: dict[str, str], expected: bool) -> None:
    """Only an environment that the contract would let through may take the short way."""
    request = Request(["/opt/cni/bin/kube-node"])
    request.environ = {"CNI_CONTAINERID": "c1", "CNI_IFNAME": "eth0", "CNI_NETNS": "/n", "CNI_PATH": "/p", **more}
    request.environ["CNI_COMMAND"] = "ADD"
    assert is_plain(request) == expected


@pytest.mark.parametrize(
    "kind",
    [
        "ZeroDivisionError",
        "KeyError",
        "OSError",
        "UnicodeError",
        "RecursionError",
        "KeyboardInterrupt",
        "SystemExit",
        "GeneratorExit",
        "BaseException",
    ],
)
def test_unforeseen(node: Node, kind: str) -> None:
    """Any exception is an error object with its kind and place, not its text, which may hold a secret."""
    before = f"from plugin import verbs\ndef answer(*_): raise {kind}({SECRET!r})\nverbs.answer = answer"
    document = error(add(node, before))
    assert (document["code"], document["details"]) == (100, "please report this")
    assert document["msg"].startswith(f"unforeseen {kind} at <string>:")


@pytest.mark.parametrize(
    ("raised", "short"),
    [
        ("MemoryError()", "memory"),
        ("OSError(24, 'x')", "open files"),
        ("OSError(12, 'x')", "memory"),
        ('RuntimeError("can\'t start new thread")', "processes"),
        ("ImportError('libx.so: failed to map segment from shared object', name='_ssl')", "memory"),
    ],
)
def test_shortage(node: Node, raised: str, short: str) -> None:
    """What this machine has too little of is named, and the caller may try again."""
    document = error(add(node, f"from plugin import verbs\ndef answer(*_): raise {raised}\nverbs.answer = answer"))
    assert document["code"] == 11
    assert f"is short of {short} (" in document["msg"]


def test_unforeseen_cni_error(node: Node) -> None:
    """A CniError that nobody caught keeps its code and words."""
    before = "from plugin import verbs\nfrom plugin.errors import CniError\n"
    before += "def answer(*_): raise CniError(7, 'what', 'do')\nverbs.answer = answer"
    document = error(add(node, before))
    assert (document["code"], document["msg"], document["details"]) == (7, "what", "do")


def hanging(expression: str) -> str:
    """Statements after which the answer is this expression, in the middle of which the deadline passes."""
    now = "deadline.start(0.05) or"
    return f"import time\nfrom plugin import deadline, verbs\nverbs.answer = lambda *_: {now} {expression}"


@pytest.mark.parametrize("hang", ["time.sleep(60)", "[_ for _ in iter(int, 1)]"])
def test_deadline(node: Node, hang: str) -> None:
    """Whatever hangs, or works too long, there is an answer when the time is up: code 11."""
    document = error(add(node, hanging(hang)))
    assert document["code"] == 11
    assert "no answer within" in document["msg"]


def test_deadline_says_where(node: Node) -> None:
    """The error says what it was that took so long."""
    document = error(add(node, hanging("time.sleep(60)")))
    assert "interrupted at <string>:" in document["details"]


def test_deadline_covers_standard_input(node: Node) -> None:
    """A caller that never ends its request is told so, too."""
    runtime = node.runtime("from plugin import deadline\ndeadline.REQUEST = 0.2")
    call = runtime.call("ADD", node.config(), POD)
    with subprocess.Popen(call.argv, env=call.environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout
        document = json.loads(child.stdout.read())
    assert (child.returncode, document["code"]) == (1, 11)


def test_deadline_after_the_answer(node: Node) -> None:
    """A deadline that comes while the answer is being printed to a slow reader does not cut it short."""
    before = "from plugin import deadline, verbs\n"
    before += "verbs.answer = lambda *_: deadline.start(0.3) or (0, b'{\"a\": \"' + b'x' * 500_000 + b'\"}')"
    call = node.runtime(before).call("ADD", node.config(), POD)
    with subprocess.Popen(call.argv, env=call.environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin and child.stdout
        child.stdin.write(call.stdin)
        child.stdin.close()
        first = child.stdout.read(1)
        time.sleep(0.6)
        printed = first + child.stdout.read()
    assert child.returncode == 0
    assert len(json.loads(printed)["a"]) == 500_000


@pytest.mark.parametrize("kind", ["ImportError", "SyntaxError", "ValueError", "EOFError", "OSError", "KeyError"])
@pytest.mark.parametrize("module", ["verbs", "cni", "leases.delegate", "leases.hostlocal", "config.settings"])
def test_archive_replaced_under_us(node: Node, kind: str, module: str) -> None:
    """A module that cannot be imported, for whatever reason, is code 11: the file is another one by now."""
    document = error(add(node, _unimportable(f"plugin.{module}", kind)))
    assert document["code"] == 11
    assert "replaced" in document["msg"] and kind in document["msg"]


@pytest.mark.parametrize("module", ["kube_node", "plan", "start.ordinary", "cache"])
def test_archive_replaced_under_us_later(node: Node, module: str) -> None:
    """The same for what is imported on the way."""
    document = error(add(node, _unimportable(f"plugin.{module}", "SyntaxError")))
    assert document["code"] == 11


def test_archive_replaced_before_the_first_failure(node: Node) -> None:
    """To tell of a failure nothing has to be imported that may have been replaced meanwhile."""
    before = "from plugin import deadline\ndeadline.REQUEST = 0.2\n" + _unimportable("plugin.errors", "ImportError")
    runtime = node.runtime(before)
    call = runtime.call("ADD", node.config(), POD)
    with subprocess.Popen(call.argv, env=call.environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout
        printed = child.stdout.read()
    assert json.loads(printed)["code"] == 11


def _unimportable(module: str, kind: str) -> str:
    """Statements after which the import of this module fails like this."""
    return f"""
class Replaced:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            raise {kind}({SECRET!r})
sys.meta_path.insert(0, Replaced())
"""


@pytest.mark.parametrize(
    ("before", "words"),
    [
        (hanging("time.sleep(60)"), "no answer within"),
        ("from plugin import verbs\ndef answer(*_): raise MemoryError\nverbs.answer = answer", "is short of memory"),
        ("from plugin import verbs\ndef answer(*_): raise KeyError\nverbs.answer = answer", "unforeseen KeyError"),
        (_unimportable("plugin.kube_node", "SyntaxError"), "was replaced"),
    ],
)
def test_status_that_fails(node: Node, before: str, words: str) -> None:
    """Whatever keeps STATUS from an answer would fail an ADD: code 50."""
    document = error(node.runtime(before).run("STATUS", node.config("1.1.0")))
    assert document["code"] == 50
    assert words in document["msg"]


@pytest.mark.parametrize(
    ("stdin", "code"),
    [
        (os.devnull, 6),
        ("write-only", 5),
    ],
)
@pytest.mark.parametrize("command", ["ADD", "DEL"])
def test_stdin_that_cannot_be_read(node: Node, stdin: str, code: int, command: str) -> None:
    """An empty standard input is no JSON; one that gives an error is an error of input."""
    call = node.runtime().call(command, node.config(), POD)
    flags = os.O_WRONLY if stdin == "write-only" else os.O_RDONLY
    source = os.open(os.devnull if stdin == "write-only" else stdin, flags)
    try:
        done = subprocess.run(call.argv, env=call.environ, stdin=source, capture_output=True, check=False)
    finally:
        os.close(source)
    document = error(Answer(done.returncode, done.stdout, done.stderr.decode(), 0.0))
    assert document["code"] == code


def test_failure_without_a_trace() -> None:
    """Even an exception that was never raised is told."""
    assert json.loads(failure.explain(ValueError(SECRET), "ADD"))["msg"] == "unforeseen ValueError at ?:0"


def test_failure_in_the_standard_library(node: Node) -> None:
    """An error below a module that is part of Python itself does not mean that the archive was replaced."""
    before = "import os\nfrom plugin import verbs\nverbs.answer = lambda *_: os.fsencode(1)"
    document = error(add(node, before))
    assert (document["code"], "TypeError" in document["msg"]) == (100, True)


def test_failure_of_a_cni_error() -> None:
    """A CniError is told in its own words."""
    assert json.loads(failure.explain(CniError(7, "msg"), "STATUS"))["msg"] == "msg"


def test_time_for_undoing() -> None:
    """The deadline leaves time to undo: 15 s in all."""
    assert deadline.REQUEST > deadline.UNDO > 0
    assert deadline.REQUEST + deadline.UNDO <= 15.0
