"""The keys of a configuration, each checked by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from plugin import settings
from plugin.cache import DIRECTORY, DIRECTORY_VARIABLE
from plugin.errors import INVALID_CONFIG, CniError

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


def read(environ: dict[str, str], **config: object) -> settings.Settings:
    """What these keys of an ipam say."""
    return settings.read(environ, config, "ipam.", "logfile", plugin="x")


def test_settings_to_begin_with() -> None:
    """Nothing configured: 30 s, the usual cache, no log."""
    found = read({})

    assert (found.cache.path, found.cache_seconds, found.sparing, found.log.file) == (DIRECTORY, 30.0, False, "")
    assert (found.kubeconfig, found.node_name, found.label) == ("", "", "ipam.kubeconfig")


def test_every_setting() -> None:
    """Each key is where it belongs; a cache directory in the configuration comes before that of the environment."""
    keys = {"kubeconfig": "/k", "nodeName": "a.b", "cacheSeconds": 5, "cacheDir": "/here", "logfile": "/l"}
    found = read({DIRECTORY_VARIABLE: "/elsewhere"}, loglevel="trace", **keys)

    assert (found.kubeconfig, found.node_name, found.cache_seconds) == ("/k", "a.b", 5.0)
    assert found.cache.path == "/here"
    assert (found.log.file, found.log.limit, found.log.context) == ("/l", 4, {"plugin": "x"})


def test_cache_directory_of_the_environment() -> None:
    """The environment can name another cache directory."""
    assert read({DIRECTORY_VARIABLE: "/elsewhere"}).cache.path == "/elsewhere"


@pytest.mark.parametrize(("cache_dir", "expected"), [("/here", "/here"), (None, DIRECTORY), ("relative", DIRECTORY)])
def test_lenient(cache_dir: str | None, expected: str) -> None:
    """For a DEL only the cache directory matters, and a bad one is as good as none."""
    found = settings.lenient({}, {"cacheDir": cache_dir, "kubeconfig": 5, "cacheSeconds": "soon"}, "ipam.kubeconfig")

    assert (found.cache.path, found.kubeconfig, found.log.file) == (expected, "", "")


@pytest.mark.parametrize("key", ["kubeconfig", "cacheDir", "logfile"])
def test_paths_are_absolute(key: str) -> None:
    """The directory a plugin runs in is the runtime's: a relative path is refused."""
    with pytest.raises(CniError, match=f"'ipam.{key}' is not an absolute path"):
        read({}, **{key: "relative"})
