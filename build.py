#!/usr/bin/env python3
"""Build, show, test, measure and release node-ipam: python3 build.py --help."""

import sys

# Above all other imports, and in syntax that Python 3.6 parses.
if sys.version_info < (3, 9):
    sys.exit(
        "build.py: Python 3.10 or later is needed (3.9 for build and demo); %s is Python %d.%d"
        % ((sys.executable,) + sys.version_info[:2])
    )

import argparse
import hashlib
import importlib
import importlib.util
import os
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from plugin import __version__
from plugin.ops.install import archive
from plugin.vendor import bundle, release, wheels
from plugin.vendor.release import ReleaseError
from plugin.vendor.wheels import FetchError, Target

ROOT = os.path.dirname(os.path.abspath(__file__))
SCRATCH = os.path.join(ROOT, "build")
DIST = os.path.join(ROOT, "dist")
MEASURED = os.path.join(SCRATCH, "measured")
VENDOR = os.path.join(ROOT, "plugin", "vendor")
TOOLS = os.path.join(ROOT, "tests", "requirements.txt")
VENV = os.path.join(SCRATCH, "venv")
VENV_PYTHON = os.path.join(VENV, "bin", "python")
LICENSE = "Apache-2.0"

# vendor/TREE of the archive, the Pythons that use it, and the oldest of them, for which the wheels are chosen.
TREES = (("common", ">=3.9", Target("3.9")), ("py310", ">=3.10", Target("3.10")), ("py39", "==3.9.*", Target("3.9")))
TOOL_TARGETS = [
    Target(f"3.{minor}", machine, glibc=("17", "24", "28"))
    for minor in range(10, 15)
    for machine in ("x86_64", "aarch64")
]
# A name with a slash is a program of the virtual environment, the others are modules.
ZIZMOR = ("bin/zizmor", "--offline", "--quiet", "--strict-collection", ".github")
PYTEST = ("pytest", "--numprocesses=auto", "--dist=loadgroup")
CHECKS = (("ruff", "check"), ("ruff", "format", "--check"), ("mypy",), ZIZMOR, PYTEST)
COUNTED = (("tests.support.measured", MEASURED), ("coverage", "erase"), (*PYTEST, "-m", "not exact"))
REPORT = (("coverage", "combine", "--quiet"), ("coverage", "report"))


class BuildError(Exception):
    """Why a command cannot run, in one sentence."""


def build(dist: str) -> None:
    """Write the archive and the links to it into a directory, and print its size and SHA-256."""
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
    """Return our own files of the archive: plugin/ without what only builds, and the licence."""
    found = {"licenses/node-ipam/LICENSE": Path(ROOT, "LICENSE").read_bytes()}
    for path in Path(ROOT, "plugin").rglob("[!.]*.py"):
        name = path.relative_to(ROOT).as_posix()
        if not name.startswith("plugin/vendor/") or name == "plugin/vendor/__init__.py":
            found[name] = path.read_bytes()
    return found


def _lock(tree: str) -> str:
    return os.path.join(VENDOR, f"requirements-{tree}.txt")


def lock() -> None:
    """Write the hashes for the versions in all lock files."""
    for tree, _, target in TREES:
        wheels.relock(_lock(tree), [target], _pip())
    wheels.relock(TOOLS, TOOL_TARGETS, _pip())


def _pip() -> list[str]:
    """Return the command of pip: the running Python's, or if it has none, that of the virtual environment."""
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
    """Return the Python of build/venv, which has the packages of tests/requirements.txt; remade when that changes."""
    if sys.version_info < (3, 10):
        raise BuildError("the tests need Python 3.10 or later (build, demo and the plugin run on 3.9)")
    stamp = Path(VENV, "made-from")  # written last: without it, the environment is incomplete
    wanted = hashlib.sha256(Path(TOOLS).read_bytes() + sys.version.encode()).hexdigest().encode()
    if not stamp.exists() or stamp.read_bytes() != wanted:
        print("making build/venv from tests/requirements.txt", flush=True)
        _make_venv()
        command = [VENV_PYTHON, "-m", "pip", "install", "--quiet", "--require-hashes", wheels.ONLY_WHEELS, "-r", TOOLS]
        if subprocess.call(command):
            raise BuildError("pip could not install tests/requirements.txt: is the package index reachable?")
        archive.place(str(stamp), wanted, 0o644)
    return VENV_PYTHON


def test(arguments: Sequence[str]) -> int:
    """Run every check and return the exit status of the first that fails. The arguments are pytest's."""
    python = tools()
    build(DIST)
    return _run_each(python, CHECKS, arguments, _environ(DIST))


def coverage(arguments: Sequence[str]) -> int:
    """Run the tests and print what of plugin/ and build.py none of their processes reached; return as test()."""
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
        more = arguments if command[0] == "pytest" else ()
        print("+", shlex.join([*command, *more]), flush=True)
        program = [os.path.join(VENV, command[0])] if "/" in command[0] else [python, "-m", command[0]]
        statuses.append(subprocess.call([*program, *command[1:], *more], cwd=ROOT, env=environ))
    return next((status for status in statuses if status), 0)


def make_release() -> None:
    """Build the files of a release in dist/. Raises ReleaseError if the checkout is not ready for one."""
    release.check(ROOT, __version__)
    build(DIST)
    for name in release.write_extras(DIST):
        print(os.path.relpath(os.path.join(DIST, name)))


def run(python: str, module: str, arguments: Sequence[str]) -> None:
    """Replace this process by a module of tests/ that runs the built archive."""
    build(DIST)
    os.chdir(ROOT)
    os.execve(python, [python, "-m", module, *arguments], _environ(DIST))


def _environ(dist: str) -> dict[str, str]:
    """Return an environment in which tests/ uses the archive in this directory; see tests/support/dist.py."""
    return {**os.environ, "NODE_IPAM_DIST": dist}


_TEST = """\
All other arguments go to pytest: build.py {name} -k ranges -x, build.py {name} tests/kube.
build/venv/bin/python -m pytest --help lists its options. Variables: FUZZ=N runs N times as many
examples; KUBEBUILDER_ASSETS=DIR (with etcd and kube-apiserver) adds a real API server.
A run leaves build/ (once 250 MB), dist/, and in the system's temporary directory the files of
failed tests of the last run.
"""


def _parser(command: str) -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="build.py", description=__doc__, allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, does: str, epilog: str = "", **more: str) -> argparse.ArgumentParser:
        more.update(help=does, description=does, epilog=epilog)
        return commands.add_parser(name, allow_abbrev=False, formatter_class=raw, **more)  # type: ignore[arg-type]

    make = add("build", "build dist/node-ipam.pyz from plugin/ and the packages it needs")
    make.add_argument("--dist", default=DIST, metavar="DIR", help="the directory to write to (default: dist/)")
    add("demo", "build, then show both plugins at work on a test API server; leaves only build/ and dist/")
    for name, does in (
        ("test", "build, then run ruff, mypy, zizmor and pytest"),
        ("coverage", "run the tests, and print the lines and branches that no test reaches"),
    ):
        add(name, does, _TEST.format(name=name), usage=f"build.py {name} [PYTEST-ARGUMENT ...]")
    bench = add("bench", "build, then measure what a request costs", "Leaves only build/ and dist/.")
    if command == "bench":  # a copy without tests/ can build
        importlib.import_module("tests.bench.options").add(bench)
    add("lock", "write the hashes for the versions in the lock files, after a change of these")
    add("release", "build node-ipam.pyz, bom.cdx.json and SHA256SUMS in dist/ from a clean checkout")
    return parser


def main(argv: Sequence[str]) -> int:
    """Run the command and return the exit status."""
    parser = _parser(next(iter(argv), ""))
    options, rest = parser.parse_known_args(argv)
    if rest and options.command not in ("test", "coverage"):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    try:
        if options.command in ("test", "coverage"):
            return (test if options.command == "test" else coverage)(rest)
        if options.command == "build":
            build(options.dist)
        elif options.command == "lock":
            lock()
        elif options.command == "release":
            make_release()
        elif options.command == "demo":
            run(sys.executable, "tests.demo", ())
        else:
            run(tools(), "tests.bench", argv[1:])
    except (BuildError, FetchError, ReleaseError, OSError) as error:
        print(f"build.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
