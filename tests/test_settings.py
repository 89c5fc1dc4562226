"""The keys of a configuration, each checked by itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from plugin import settings
from plugin.cache import DIRECTORY, DIRECTORY_VARIABLE
from plugin.errors import INVALID_CONFIG, CniError
from plugin.log import Log

Read = Callable[[dict[str, Any], str, str], Any]
ABSENT = object()
WRONG: dict[Read, list[Any]] = {
    settings.text: [0, False, [], {}, 1.5, "a\0b"],
    settings.path: [0, [], "a", "./a", "~/a", "a/b", " /a", "/a\0"],
    settings.node_name: [0, "VM-002", "a_b", "-a", "a-", "a..b", ".a", "a.", "a/b", "..", "a\n", "a b", "a" * 254, "ä"],
    settings.seconds: ["30", True, False, [], -1, -0.1, 86400.1, 10**400],
    settings.names: ["a", 0, {}, [1], ["a", None], [["a"]], False],
}


def config(value: object) -> dict[str, Any]:
    """A configuration in which key has this value, or is not there."""
    return {} if value is ABSENT else {"key": value}


@pytest.mark.parametrize(
    ("read", "value", "expected"),
    [
        (settings.text, ABSENT, ""),
        (settings.text, None, ""),
        (settings.text, "", ""),
        (settings.text, "väl", "väl"),
        (settings.path, ABSENT, ""),
        (settings.path, "", ""),
        (settings.path, "/", "/"),
        (settings.path, "/a/../b c", "/a/../b c"),
        (settings.node_name, ABSENT, ""),
        (settings.node_name, "vm-002", "vm-002"),
        (settings.node_name, "ip-10-0-0-1.eu-west-1.compute.internal", "ip-10-0-0-1.eu-west-1.compute.internal"),
        (settings.node_name, "1", "1"),
        (settings.node_name, "a" * 253, "a" * 253),
        (settings.seconds, ABSENT, 30.0),
        (settings.seconds, None, 30.0),
        (settings.seconds, 0, 0.0),
        (settings.seconds, 0.5, 0.5),
        (settings.seconds, 86400, 86400.0),
        (settings.names, ABSENT, None),
        (settings.names, None, None),
        (settings.names, [], []),
        (settings.names, ["a", "b"], ["a", "b"]),
    ],
)
def test_accepted(read: Read, value: object, expected: object) -> None:
    """A value of the right kind comes back; an absent one as what it stands for."""
    assert read(config(value), "key", "ipam.") == expected


@pytest.mark.parametrize(("read", "value"), [(read, value) for read, values in WRONG.items() for value in values])
def test_refused(read: Read, value: object) -> None:
    """A value of the wrong kind is an error that names the key and says what to write."""
    with pytest.raises(CniError) as caught:
        read(config(value), "key", "ipam.")

    assert caught.value.code == INVALID_CONFIG
    assert "'ipam.key'" in caught.value.msg
    assert caught.value.details


@pytest.mark.parametrize("read", [settings.text, settings.path])
@pytest.mark.parametrize("value", ["/a\ud800", "/\udfff/b"])
def test_text_that_is_no_text(read: Read, value: str) -> None:
    """Half a surrogate pair, which JSON can write and no file name can hold, is refused."""
    with pytest.raises(CniError) as caught:
        read(config(value), "key", "ipam.")

    assert caught.value.code == INVALID_CONFIG


def test_long_value_is_cut_in_the_message() -> None:
    """A message repeats only the beginning of a long value."""
    with pytest.raises(CniError) as caught:
        settings.path(config("x" * 100_000), "key", "ipam.")

    assert len(caught.value.msg) < 200


@pytest.mark.parametrize("value", ["a" * 63 + "-" * 190 + "!", "a." * 126 + "A", "-" * 253])
def test_node_name_is_checked_in_no_time(value: str) -> None:
    """No name makes the check go through all the ways to divide it: the test would not end."""
    assert not settings.is_node_name(value)


def test_settings_to_begin_with(tmp_path: Path) -> None:
    """Nothing configured: 30 s, the usual cache, and requests may be remembered."""
    chosen = settings.Settings({}, Log(), "label")

    assert (chosen.cache.path, chosen.cache_seconds, chosen.memorable, chosen.sparing) == (DIRECTORY, 30.0, True, False)
    assert (chosen.kubeconfig, chosen.node_name, chosen.label) == ("", "", "label")


def test_cache_directory_of_the_environment() -> None:
    """The environment can name another cache directory, and plugin.fast knows that one."""
    chosen = settings.Settings({DIRECTORY_VARIABLE: "/elsewhere"}, Log(), "label")

    assert (chosen.cache.path, chosen.memorable) == ("/elsewhere", True)


def test_cache_directory_of_the_configuration() -> None:
    """A directory that only the configuration names is not known to plugin.fast: nothing is remembered for it."""
    chosen = settings.Settings({DIRECTORY_VARIABLE: "/elsewhere"}, Log(), "label")
    chosen.keep_in("")
    assert (chosen.cache.path, chosen.memorable) == ("/elsewhere", True)

    chosen.keep_in("/here")
    assert (chosen.cache.path, chosen.memorable) == ("/here", False)


def test_request_that_is_logged_is_not_remembered(tmp_path: Path) -> None:
    """plugin.fast writes no log, so it must not answer where one is wanted."""
    log = settings.log({"log": str(tmp_path / "log"), "loglevel": "trace"}, "log", "ipam.", plugin="x")

    assert (log.file, log.limit, log.context) == (str(tmp_path / "log"), 4, {"plugin": "x"})
    assert not settings.Settings({}, log, "label").memorable


def test_log_needs_an_absolute_path() -> None:
    """The directory a plugin runs in is the runtime's: a relative log file is refused."""
    with pytest.raises(CniError, match="'ipam.logfile' is not an absolute path"):
        settings.log({"logfile": "log"}, "logfile", "ipam.")
