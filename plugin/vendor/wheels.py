"""Lock files, and the wheels that they pin: pip fetches each once, the hash identifies it."""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

ONLY_WHEELS = "--only-binary=:all:"
_HASH = "--hash=sha256:"


class FetchError(Exception):
    """pip could not fetch a wheel of a lock file; its own error is on stderr."""


@dataclass(frozen=True)
class Pin:
    """One line of a lock file: a released version and the hashes that its wheels can have."""

    project: str
    version: str
    hashes: frozenset[str]


@dataclass(frozen=True)
class Target:
    """The interpreter to choose wheels for; another one may run pip. glibc: the minor versions of manylinux."""

    python: str
    machine: str = "x86_64"
    glibc: tuple[str, ...] = ("17",)

    def options(self) -> list[str]:
        """Return the options of pip download."""
        platforms = [f"--platform=manylinux_2_{minor}_{self.machine}" for minor in self.glibc]
        return ["--implementation=cp", f"--python-version={self.python}", *platforms]


def pins(lock: str) -> list[Pin]:
    """Return the pins of a lock file (https://pip.pypa.io/en/stable/topics/secure-installs/)."""
    found = []
    for line in Path(lock).read_text(encoding="utf-8").replace("\\\n", " ").splitlines():
        requirement, *hashes = line.partition("#")[0].split() or [""]
        if requirement:
            project, _, version = requirement.partition("==")
            found.append(Pin(project, version, frozenset(text[len(_HASH) :] for text in hashes)))
    return found


def fetch(lock: str, target: Target, folder: str, pip: Callable[[], Sequence[str]]) -> list[tuple[Pin, str]]:
    """Return each pin of a lock file with the path of its wheel, fetched if it is missing. Raises FetchError.

    pip: returns the command of pip; called only if a wheel is missing.
    """
    wanted = pins(lock)
    if not all(pin.hashes & _hashes(folder).keys() for pin in wanted):
        _download(["--require-hashes", "--requirement", lock], target, folder, pip())
    held = _hashes(folder)
    found = [(pin, held[digest]) for pin in wanted for digest in sorted(pin.hashes & held.keys())[:1]]
    if len(found) < len(wanted):
        raise FetchError(f"{folder} lacks wheels of {os.path.basename(lock)}: delete the folder and try again")
    return found


def relock(lock: str, targets: Iterable[Target], pip: Sequence[str]) -> None:
    """Write the hashes of all wheels that the targets need into a lock file. Raises FetchError."""
    text = [line for line in Path(lock).read_text(encoding="utf-8").splitlines(True) if line.startswith("#")]
    wanted = pins(lock)
    requirements = [f"{pin.project}=={pin.version}" for pin in wanted]
    held: dict[str, list[str]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for target in targets:
            _download(requirements, target, folder, pip)
        for digest, path in _hashes(folder).items():
            held.setdefault(os.path.basename(path).split("-")[0].lower(), []).append(digest)
    for pin, requirement in zip(wanted, requirements):
        hashes = sorted(held[pin.project.lower().replace("-", "_")])
        text.append(" \\\n    ".join([requirement, *(_HASH + digest for digest in hashes)]) + "\n")
    Path(lock).write_text("".join(text), encoding="utf-8")


def _download(what: Sequence[str], target: Target, folder: str, pip: Sequence[str]) -> None:
    command = [*pip, "download", "--quiet", "--no-deps", ONLY_WHEELS, *target.options(), f"--dest={folder}", *what]
    if subprocess.call(command, stdout=subprocess.DEVNULL):
        raise FetchError("pip could not fetch what is named above: is the package index reachable?")


def _hashes(folder: str) -> dict[str, str]:
    """Return the wheels in a folder: SHA-256 to path."""
    return {hashlib.sha256(path.read_bytes()).hexdigest(): str(path) for path in Path(folder).glob("*.whl")}
