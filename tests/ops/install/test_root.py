"""Paths inside another machine's root, and programs run there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from plugin.errors import CniError
from plugin.ops.install.root import Root


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Root:
    """A root with links of all kinds; none is entered."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    (tmp_path / "var/opt/cni").mkdir(parents=True)
    for name, target in (
        ("opt", "/var/opt"),
        ("relative", "var/opt"),
        ("up", "../../../../../etc"),
        ("twice", "/opt/cni"),
        ("loop", "/loop"),
        ("var/back", "/etc"),
    ):
        (tmp_path / name).symlink_to(target)
    return Root(str(tmp_path))


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/", ""),
        ("/var/opt", "var/opt"),
        ("//var/./opt/", "var/opt"),
        ("/opt/cni/bin", "var/opt/cni/bin"),
        ("/relative/cni", "var/opt/cni"),
        ("/twice/bin", "var/opt/cni/bin"),
        ("/up/passwd", "etc/passwd"),
        ("/opt/../back/passwd", "etc/passwd"),
        ("/../../etc/passwd", "etc/passwd"),
        ("/opt/../x", "var/x"),
        ("/absent/../x", "x"),
    ],
)
def test_outside_and_inside(root: Root, path: str, found: str) -> None:
    """Links, and dots, lead where they lead for that machine: never out of its root."""
    outside = root.outside(path)

    assert outside == os.path.normpath(f"{root.path}/{found}")
    assert root.inside(outside) == os.path.normpath(f"/{found}")


def test_loop_of_links(root: Root) -> None:
    """Links in a circle are an error, as they are for the kernel."""
    with pytest.raises(OSError, match="levels of symbolic links"):
        root.outside("/loop/bin")


def test_own_root() -> None:
    """The machine's own root needs no chroot, and anyone may use it."""
    root = Root("/")

    assert root.is_own()
    assert root.outside("/proc/self/../version") == os.path.realpath("/proc/self/../version")


def test_another_root_needs_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only root can enter one, and others are told so at once."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    with pytest.raises(CniError, match=f"--root {tmp_path} needs to be root"):
        Root(str(tmp_path))


def test_no_root(tmp_path: Path) -> None:
    """A root that is not there is named."""
    with pytest.raises(CniError, match=f"{tmp_path}/x is not a directory"):
        Root(str(tmp_path / "x"))


def test_run() -> None:
    """A program sees the environment that it is given and /, and both of its outputs are caught."""
    done = Root("/").run(["/bin/sh", "-c", "cat; echo $WORD; pwd; exec env >&2"], {"WORD": "word"}, b"input\n")

    assert (done.returncode, done.stdout) == (0, b"input\nword\n/\n")
    assert {line.split(b"=")[0] for line in done.stderr.splitlines()} - {b"PWD", b"_", b"OLDPWD", b"SHLVL"} == {
        b"PATH",
        b"WORD",
    }


def test_run_what_hangs() -> None:
    """A program that does not end is ended, and named."""
    with pytest.raises(CniError, match="/bin/sleep has not ended after 0 seconds"):
        Root("/").run(["/bin/sleep", "60"], {}, seconds=0.05)


def test_run_what_cannot_be_entered(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where chroot is not allowed, as in a container without the capability, that is what it says."""

    def refuse(_path: str) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "chroot", refuse)

    with pytest.raises(CniError, match="cannot be entered"):
        root.run(["/bin/true"], {})


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("echo no; echo broken >&2; exit 3", "does not answer CNI_COMMAND=VERSION: exit status 3 broken"),
        ("echo no", "does not answer CNI_COMMAND=VERSION: exit status 0 no"),
        ("echo '{}'", "does not answer CNI_COMMAND=VERSION: exit status 0 {}"),
        ("""echo '{"supportedVersions": "1.0.0"}'""", "does not answer"),
    ],
)
def test_no_plugin(tmp_path: Path, script: str, told: str) -> None:
    """What answers otherwise than a plugin is named, with the last that it said."""
    program = tmp_path / "plugin"
    program.write_text(f"#!/bin/sh\n{script}\n", encoding="ascii")
    with pytest.raises(CniError, match=f"{program} cannot be run: Permission denied"):
        Root("/").supported_versions(str(program))
    program.chmod(0o755)

    with pytest.raises(CniError) as error:
        Root("/").supported_versions(str(program))

    assert error.value.msg.startswith(f"{program} {told}")


def test_supported_versions(tmp_path: Path) -> None:
    """It is asked as a runtime asks."""
    program = tmp_path / "plugin"
    program.write_text('#!/bin/sh\ncat > /dev/null\necho "{\\"supportedVersions\\": [\\"$CNI_COMMAND\\"]}"\n')
    program.chmod(0o755)

    assert Root("/").supported_versions(str(program)) == ["VERSION"]
