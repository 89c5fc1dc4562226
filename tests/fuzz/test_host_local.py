"""What host-local may answer: garbage, half of a document, two, any exit status, a signal, nothing in time."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from plugin.deadline import DeadlineExceeded
from tests.fuzz.anything import JSON, damaged, mangled
from tests.fuzz.inside import DONE_WORDS, RESULT, Answer, Ending, Inside
from tests.support.budget import examples
from tests.support.nodes import make_node

ERROR: dict[str, Any] = {"cniVersion": "1.0.0", "code": 999, "msg": "No such file or directory", "details": "Not Found"}
DUPLICATE = {**ERROR, "msg": "10.9.0.2 has been allocated to c1, duplicate allocation is not allowed"}
PIECES = [b"{", b"}", b'"', b"\n", b"\xff", b"duplicate allocation", b"NaN", b"null", b'"code": 1,', b"[" * 2000]
DOCUMENTS = damaged(json.loads(RESULT)) | damaged(ERROR, most=1) | damaged(DUPLICATE, most=1) | JSON
PRINTED = st.lists(DOCUMENTS.map(json.dumps).map(str.encode), max_size=2).map(b"\n".join)
PRINTED |= mangled(RESULT, PIECES) | mangled(json.dumps(ERROR).encode(), PIECES) | st.binary(max_size=30)
STATUSES = st.sampled_from([0, 0, 0, 1, 1, 2, 127, 255, -9, -11])
ENDINGS = st.tuples(STATUSES, PRINTED) | st.sampled_from(
    [DeadlineExceeded(), PermissionError(13, "no"), OSError(8, "")]
)
VERSIONS = st.sampled_from(["0.4.0", "1.0.0", "1.1.0"])


def config(version: str) -> bytes:
    """A request that is right."""
    return json.dumps({"cniVersion": version, "name": "net", "ipam": {"type": "kube-node"}}).encode()


def one_object(printed: bytes) -> Any:
    """The JSON object that this is, as a strict reader has it; None if it is anything else."""
    try:
        found = json.loads(printed.decode(), parse_constant=lambda _: 1 / 0)
    except (ValueError, RecursionError, ZeroDivisionError):
        return None
    return found if isinstance(found, dict) else None


def added(inside: Inside, version: str, ending: Ending | BaseException, warm: bool) -> Answer:
    """What an ADD answers when the next plugin ends like this, perhaps right after one like it went well."""
    inside.afresh()
    inside.node = make_node("vm-002")
    if warm:
        assert inside.ask(inside.environ("ADD", "c0"), config(version)).status == 0
    inside.calls.clear()
    inside.endings["ADD"] = ending
    return inside.ask(inside.environ("ADD"), config(version))


@examples(200)
@given(VERSIONS, ENDINGS, st.booleans())
def test_add(inside: Inside, version: str, ending: Ending | BaseException, warm: bool) -> None:
    """A result or an error of its own comes back as it is; of all else nothing is left behind, and it is an error."""
    answer = added(inside, version, ending, warm)
    commands = [each.command for each in inside.calls]
    status, printed = ending if isinstance(ending, tuple) else (-1, b"")
    document = one_object(printed)
    if document is not None and ("code" in document) == (status != 0):
        translated = {**document, "cniVersion": "1.1.0"} if version == "1.1.0" and status == 0 else document
        assert (answer.status, json.loads(answer.printed)) == (max(status, 0) or int(status < 0), translated)
        assert commands == ["ADD"]
        return
    assert answer.status >= 1
    assert isinstance(one_object(answer.printed), dict)
    never_ran = isinstance(ending, OSError)
    assert commands == (["ADD"] if never_ran or b"duplicate allocation" in printed else ["ADD", "DEL"])
    assert all(each.config == inside.calls[0].config for each in inside.calls)


@examples(100)
@given(VERSIONS, ENDINGS)
def test_both_ways_agree(inside: Inside, version: str, ending: Ending | BaseException) -> None:
    """A request seen before is answered as one that was not, whatever host-local says this time."""
    short = added(inside, version, ending, warm=True), list(inside.calls)
    ordinary = added(inside, version, ending, warm=False), list(inside.calls)

    assert short[1] == ordinary[1]
    assert short[0].status == ordinary[0].status
    assert json.loads(short[0].printed) == json.loads(ordinary[0].printed)


@examples(200)
@given(VERSIONS, st.sampled_from(["DEL", "CHECK"]), ENDINGS)
def test_release(inside: Inside, version: str, command: str, ending: Ending | BaseException) -> None:
    """DEL and CHECK succeed when host-local's do, and a failed DEL never sounds as if there were nothing to free."""
    inside.afresh(**{command: ending})
    answer = inside.ask(inside.environ(command), config(version))

    assert [each.command for each in inside.calls] == [command]
    if isinstance(ending, tuple) and ending[0] == 0:
        assert answer == (0, b"")
        return
    assert answer.status >= 1
    document = one_object(answer.printed)
    assert document is not None and "code" in document
    if command == "DEL":
        assert not any(
            word in str(text).lower() for text in (document.get("msg"), document.get("details")) for word in DONE_WORDS
        )
