#!/usr/bin/env python3
"""Pack node-ipam into one file, show it, test it, measure it: python3 build.py --help."""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys

from plugin import __version__
from plugin.ops.install import archive
from plugin.vendor import bundle, wheels
from plugin.vendor.wheels import FetchError, Target

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

ROOT = os.path.dirname(os.path.abspath(__file__))
SCRATCH = os.path.join(ROOT, "build")
DIST = os.path.join(ROOT, "dist")
MEASURED = os.path.join(SCRATCH, "measured")
VENDOR = os.path.join(ROOT, "plugin", "vendor")
TOOLS = os.path.join(ROOT, "tests", "requirements.txt")
VENV = os.path.join(SCRATCH, "venv")
VENV_PYTHON = os.path.join(VENV, "bin", "python")
LICENSE = "Apache-2.0"
# For `python3 node-ipam.pyz`: in the syntax of any Python 3, as plugin/__init__.py, which tells an old one off.
MAIN = b"from plugin import go\n\ngo()\n"

# vendor/TREE of the archive, the Pythons that use it, and the oldest of them, which the wheels are chosen for.
TREES = (("common", ">=3.9", Target("3.9")), ("py310", ">=3.10", Target("3.10")), ("py39", "==3.9.*", Target("3.9")))
TOOL_TARGETS = [
    Target(f"3.{minor}", machine, glibc=("17", "28")) for minor in range(10, 15) for machine in ("x86_64", "aarch64")
]
CHECKS = (("ruff", "check"), ("ruff", "format", "--check"), ("mypy",), ("pytest",))
COUNTED = (("tests.support.measured", MEASURED), ("coverage", "erase"), ("pytest", "-m", "not exact"))
REPORT = (("coverage", "combine", "--quiet"), ("coverage", "report"))


class BuildError(Exception):
    """What stands in the way, in one sentence for whoever runs this."""


def build(dist: str) -> None:
    """Write the archive and the links to it into a folder, and print its size and SHA-256."""
    packages = [
        bundle.read(tree, python, pin, wheel)
        for tree, python, target in TREES
        for pin, wheel in wheels.fetch(_lock(tree), target, os.path.join(SCRATCH, "wheels"), _pip)
    ]
    entries = {**_own_files(), **bundle.entries(packages)}
    entries["bom.cdx.json"] = bundle.materials("node-ipam", __version__, LICENSE, packages)
    data = archive.pack(entries)
    os.makedirs(dist, exist_ok=True)
    path = os.path.join(dist, archive.FILE)
    archive.place(path, data)
    for name in archive.LINKS:
        archive.link(os.path.join(dist, name), archive.FILE)
    print(f"{hashlib.sha256(data).hexdigest()}  {os.path.relpath(path)}")
    print(f"{len(data):,} bytes, {len(entries)} files; {' and '.join(archive.LINKS)} are links to it", flush=True)


def _own_files() -> dict[str, bytes]:
    """Our own part of the archive: plugin/ but for what only builds, and the licence."""
    found = {}
    for path in _sources(os.path.join(ROOT, "plugin")):
        name = os.path.relpath(path, ROOT)
        if not name.startswith("plugin/vendor/") or name == "plugin/vendor/__init__.py":
            found[name] = _read(path)
    found["__main__.py"] = MAIN
    found["licenses/node-ipam/LICENSE"] = _read(os.path.join(ROOT, "LICENSE"))
    return found


def _sources(folder: str) -> Iterator[str]:
    for parent, _, names in os.walk(folder):
        yield from (os.path.join(parent, name) for name in names if name.endswith(".py") and name[0] != ".")


def _lock(tree: str) -> str:
    return os.path.join(VENDOR, f"requirements-{tree}.txt")


def lock() -> None:
    """Bring the hashes in all lock files up to the versions they name."""
    for tree, _, target in TREES:
        wheels.relock(_lock(tree), [target], _pip())
    wheels.relock(TOOLS, TOOL_TARGETS, _pip())


def _pip() -> list[str]:
    """The pip of the running Python or, where it has none, the one a virtual environment brings along."""
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip"]
    if not os.path.exists(os.path.join(VENV, "bin", "pip")):
        _make_venv()
    return [VENV_PYTHON, "-m", "pip"]


def _make_venv() -> None:
    command = [sys.executable, "-m", "venv", "--clear", VENV]
    if subprocess.call(command, stdout=subprocess.DEVNULL):
        shutil.rmtree(VENV, ignore_errors=True)
        raise BuildError(f"{sys.executable} has no venv: install it (Debian, Ubuntu: apt-get install python3-venv)")


def tools() -> str:
    """The Python of build/venv, which holds what tests/requirements.txt names; made anew when that file changes."""
    if sys.version_info < (3, 10):
        raise BuildError("the tools need Python 3.10 or later (build, and the plugin itself, do with 3.9)")
    stamp = os.path.join(VENV, "made-from")  # written last: without it, the environment is half made
    wanted = hashlib.sha256(_read(TOOLS) + sys.version.encode()).hexdigest().encode()
    if not os.path.exists(stamp) or _read(stamp) != wanted:
        print("making build/venv from tests/requirements.txt", flush=True)
        _make_venv()
        command = [VENV_PYTHON, "-m", "pip", "install", "--quiet", "--require-hashes", wheels.ONLY_WHEELS, "-r", TOOLS]
        if subprocess.call(command):
            raise BuildError("pip could not install tests/requirements.txt: is the package index within reach?")
        archive.place(stamp, wanted, 0o644)
    return VENV_PYTHON


def test(arguments: Sequence[str]) -> int:
    """Run every check; arguments are pytest's. The exit status is that of the first one to fail."""
    python = tools()
    build(DIST)
    return _run_each(python, CHECKS, arguments, _environ(DIST))


def coverage(arguments: Sequence[str]) -> int:
    """Run the tests, and tell what of plugin/ and build.py none of their processes reached; exit status as above."""
    python = tools()
    build(MEASURED)
    start, data = os.path.join(ROOT, ".coveragerc"), os.path.join(SCRATCH, ".coverage")
    environ = {**_environ(MEASURED), "COVERAGE_PROCESS_START": start, "COVERAGE_FILE": data}
    return _run_each(python, COUNTED + REPORT, arguments, environ)


def _run_each(
    python: str, commands: Sequence[Sequence[str]], arguments: Sequence[str], environ: Mapping[str, str]
) -> int:
    statuses = []
    for command in commands:
        print("+", *command, flush=True)
        more = arguments if command[0] == "pytest" else ()
        statuses.append(subprocess.call([python, "-m", *command, *more], cwd=ROOT, env=environ))
    return next((status for status in statuses if status), 0)


def run(module: str, arguments: Sequence[str]) -> None:
    """Become a module of tests/ that shows the built archive at work."""
    python = tools()
    build(DIST)
    os.chdir(ROOT)
    os.execve(python, [python, "-m", module, *arguments], _environ(DIST))


def _environ(dist: str) -> dict[str, str]:
    """The environment in which tests/ uses the archive in this folder: tests/support/dist.py."""
    return {**os.environ, "NODE_IPAM_DIST": dist}


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="build.py", description=__doc__, allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, does: str, epilog: str = "") -> argparse.ArgumentParser:
        return commands.add_parser(name, help=does, description=does, epilog=epilog, allow_abbrev=False)

    make = add("build", "pack plugin/ and the packages it needs into dist/node-ipam.pyz")
    make.add_argument("--dist", default=DIST, metavar="DIR", help="where to (default: dist/ beside build.py)")
    add("demo", "build, then watch both plugins serve pods against a throw-away API server")
    add("test", "build, then run ruff, mypy and pytest", "All arguments go to pytest: build.py test -k ranges -x")
    add("coverage", "run the tests, and show the lines and branches that none of them reaches", "The same arguments.")
    add(
        "bench",
        "build, then measure what a request costs",
        "Options: --rounds N, --vs COMMAND, -o json, --python PATH, --nodes N",
    )
    add("lock", "write the hashes for the versions that the lock files name, after changing those")
    return parser


def main(argv: Sequence[str]) -> int:
    """Do what the command line asks for; the exit status."""
    parser = _parser()
    options, rest = parser.parse_known_args(argv)
    if rest and options.command in ("build", "lock"):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    try:
        if options.command in ("test", "coverage"):
            return (test if options.command == "test" else coverage)(rest)
        if options.command == "build":
            build(options.dist)
        elif options.command == "lock":
            lock()
        else:
            run(f"tests.{options.command}", rest)
    except (BuildError, FetchError, OSError) as error:
        print(f"build.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
