"""build.py: lock files, wheels, the tools' environment, and its commands."""

from __future__ import annotations

import ast
import glob
import hashlib
import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import build
from plugin import __version__
from plugin.ops.install import archive
from plugin.vendor import bundle, release, wheels
from plugin.vendor.wheels import FetchError, Pin, Target

TARGET = Target("3.9")
WHEEL = "thing-1.0-py3-none-any.whl"


def make_wheel(files: dict[str, str], project: str = "thing") -> bytes:
    """A wheel of a project, version 1.0, with these files in it."""
    info = f"{project}-1.0.dist-info"
    metadata = (
        f"Metadata-Version: 2.4\nName: {project}\nVersion: 1.0\nLicense-Expression: MIT\nRequires-Python: >=3.9\n"
        "Requires-Dist: urllib3<3,>=1.26\nRequires-Dist: certifi>=2023.5.7\n"
        'Requires-Dist: PySocks!=1.5.7; extra == "socks"\n\nA thing.\n'
    )
    files = {
        **files,
        f"{info}/METADATA": metadata,
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/licenses/LICENSE.txt": "do as you like",
        f"{info}/RECORD": "",
    }
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as wheel:
        for name, text in files.items():
            wheel.writestr(name, text)
    return stream.getvalue()


def write_lock(path: Path, *hashes: str) -> str:
    """A lock file of thing 1.0 with these hashes."""
    path.write_text("# thing\n" + " \\\n    ".join(["thing==1.0", *(f"--hash=sha256:{h}" for h in hashes)]) + "\n")
    return str(path)


def no_pip() -> list[str]:
    """Stands for pip where pip must not be needed."""
    raise AssertionError("pip was asked for")


def own_pip() -> list[str]:
    """The pip of the Python that runs the tests."""
    return [sys.executable, "-m", "pip"]


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory that is all pip knows of the world; thing 1.0 is in it."""
    folder = tmp_path / "index"
    folder.mkdir()
    (folder / WHEEL).write_bytes(make_wheel({"thing.py": ""}))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_pins(tmp_path: Path) -> None:
    """Comments, blank lines and continued lines are read as pip reads them."""
    lock = tmp_path / "lock.txt"
    lock.write_text(
        "# for all\n\na-b==1.0 \\\n    --hash=sha256:11 \\\n    --hash=sha256:22\nC==2.0.post1 --hash=sha256:33 # why\n"
    )

    assert wheels.pins(str(lock)) == [
        Pin("a-b", "1.0", frozenset({"11", "22"})),
        Pin("C", "2.0.post1", frozenset({"33"})),
    ]


@pytest.mark.parametrize("lock", [*(build._lock(tree) for tree, _, _ in build.TREES), build.TOOLS])
def test_every_requirement_is_pinned(lock: str) -> None:
    """Each line of our own lock files has a version and hashes, each project once."""
    pins = wheels.pins(lock)

    assert pins
    assert [pin for pin in pins if not pin.version or not pin.hashes] == []
    assert len({pin.project for pin in pins}) == len(pins)


def test_fetch_once(tmp_path: Path, index: Path) -> None:
    """pip fetches what is missing; from then on it is not needed."""
    lock, folder = write_lock(tmp_path / "lock.txt", digest(index / WHEEL)), tmp_path / "wheels"

    first = wheels.fetch(lock, TARGET, str(folder), own_pip)
    again = wheels.fetch(lock, TARGET, str(folder), no_pip)

    assert [(pin.project, path) for pin, path in first] == [("thing", str(folder / WHEEL))]
    assert again == first


def test_fetch_refuses_other_contents(tmp_path: Path, index: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A wheel that is not the one that was pinned is not taken."""
    lock = write_lock(tmp_path / "lock.txt", "0" * 64)

    with pytest.raises(FetchError):
        wheels.fetch(lock, TARGET, str(tmp_path / "wheels"), own_pip)

    assert "HASH" in capfd.readouterr().err.upper()


def test_fetch_takes_nothing_unpinned(tmp_path: Path, index: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A line without a hash is not fetched at all."""
    lock, folder = write_lock(tmp_path / "lock.txt"), tmp_path / "wheels"

    with pytest.raises(FetchError):
        wheels.fetch(lock, TARGET, str(folder), own_pip)

    assert os.listdir(folder) == []
    assert "HASH" in capfd.readouterr().err.upper()


def test_fetch_what_is_new(tmp_path: Path, index: Path) -> None:
    """A line added to a lock file is fetched although the others are there."""
    lock, folder = write_lock(tmp_path / "lock.txt", digest(index / WHEEL)), tmp_path / "wheels"
    wheels.fetch(lock, TARGET, str(folder), own_pip)
    other = index / WHEEL.replace("thing", "other")
    other.write_bytes(make_wheel({}, "other"))
    with open(lock, "a") as file:
        file.write(f"other==1.0 --hash=sha256:{digest(other)}\n")

    found = wheels.fetch(lock, TARGET, str(folder), own_pip)

    assert [pin.project for pin, _ in found] == ["thing", "other"]


def test_fetch_of_a_pip_that_does_nothing(tmp_path: Path, index: Path) -> None:
    """A wheel that is not there after all is missed at once, not when it is read."""
    lock = write_lock(tmp_path / "lock.txt", digest(index / WHEEL))
    (tmp_path / "wheels").mkdir()

    with pytest.raises(FetchError, match="lacks wheels of lock.txt"):
        wheels.fetch(lock, TARGET, str(tmp_path / "wheels"), lambda: ["true"])


def test_fetch_mends_damage(tmp_path: Path, index: Path) -> None:
    """A wheel damaged since, or half written, is fetched again."""
    lock, folder = write_lock(tmp_path / "lock.txt", digest(index / WHEEL)), tmp_path / "wheels"
    folder.mkdir()
    (folder / WHEEL).write_bytes(b"PK")

    wheels.fetch(lock, TARGET, str(folder), own_pip)

    assert digest(folder / WHEEL) == digest(index / WHEEL)


def test_relock(tmp_path: Path, index: Path) -> None:
    """Hashes are brought up to the versions; comments stay."""
    lock = write_lock(tmp_path / "lock.txt", "0" * 64, "1" * 64)

    wheels.relock(lock, [TARGET], own_pip())

    expected = tmp_path / "expected.txt"
    write_lock(expected, digest(index / WHEEL))
    assert Path(lock).read_text() == expected.read_text()


def test_bundled_part_of_a_wheel(tmp_path: Path) -> None:
    """Code goes in, dropped files and metadata do not, licence and terms are known, extras are no requirement."""
    files = {
        "requests/api.py": "a",
        "requests/help.py": "h",
        "requests/py.typed": "",
        "urllib3/contrib/emscripten/x.js": "",
    }
    wheel = tmp_path / WHEEL
    wheel.write_bytes(make_wheel(files))

    package = bundle.read("py39", "==3.9.*", Pin("thing", "1.0", frozenset()), str(wheel))

    assert package.files == {"requests/api.py": b"a"}
    assert package.licenses == {"LICENSE.txt": b"do as you like"}
    assert (package.license, package.sha256, package.purl) == ("MIT", digest(wheel), "pkg:pypi/thing@1.0")
    assert package.requires == ["urllib3", "certifi"]


def test_licences_that_differ_between_versions_are_both_kept(tmp_path: Path) -> None:
    """Of two versions of a package with different licence texts, neither is lost."""
    packages = [
        bundle.Package(tree, "", "thing", version, "", "MIT", [], {}, {"LICENSE": text})
        for tree, version, text in (("py39", "1", b"old"), ("py310", "2", b"new"), ("common", "3", b"old"))
    ]

    licenses = {name: data for name, data in bundle.entries(packages).items() if name.startswith("licenses/")}

    assert licenses == {"licenses/thing/LICENSE": b"old", "licenses/thing/2/LICENSE": b"new"}


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A build/venv elsewhere, made from a list of tools that is empty."""
    monkeypatch.setattr(build, "VENV", str(tmp_path / "venv"))
    monkeypatch.setattr(build, "VENV_PYTHON", str(tmp_path / "venv" / "bin" / "python"))
    monkeypatch.setattr(build, "TOOLS", str(tmp_path / "requirements.txt"))
    (tmp_path / "requirements.txt").write_text("# none\n")
    return tmp_path


@pytest.fixture
def commands(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was run, by its third word (venv, pip); pip fails when its requirements say so."""
    ran: list[str] = []

    def call(command: list[str], **_options: object) -> int:
        ran.append(command[2])
        (scratch / "venv" / "bin").mkdir(parents=True, exist_ok=True)
        return int(command[2] == "pip" and "fail" in Path(command[-1]).read_text())

    monkeypatch.setattr(subprocess, "call", call)
    return ran


def test_tools_are_made_once(scratch: Path, commands: list[str]) -> None:
    """The environment stays as it is until its requirements change, or another Python runs this."""
    python = build.tools()
    assert python == str(scratch / "venv" / "bin" / "python")
    assert commands == ["venv", "pip"]

    build.tools()
    assert commands == ["venv", "pip"]

    (scratch / "requirements.txt").write_text("# other ones\n")
    build.tools()
    assert commands == ["venv", "pip"] * 2


def test_half_made_tools_are_made_again(scratch: Path, commands: list[str]) -> None:
    """When pip fails, or is interrupted, the environment is not taken for ready the next time."""
    (scratch / "requirements.txt").write_text("# fail\n")

    for _ in range(2):
        with pytest.raises(build.BuildError, match="could not install"):
            build.tools()

    assert commands == ["venv", "pip"] * 2


def test_no_venv_to_be_had(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Debian's python3 without python3-venv: one sentence says what to install, nothing is left behind."""
    python = scratch / "python3"
    python.write_text('#!/bin/sh\nmkdir -p "$4/bin"; exit 1\n')  # python3 -m venv --clear DIR
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))

    with pytest.raises(build.BuildError, match="apt-get install python3-venv"):
        build.tools()

    assert not (scratch / "venv").exists()


def test_pip_of_the_environment(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Python without pip borrows the one of a virtual environment."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)

    pip = build._pip()

    assert subprocess.check_output([*pip, "--version"]).startswith(b"pip ")
    assert pip[0] == str(scratch / "venv" / "bin" / "python")
    (scratch / "venv" / "installed").touch()
    assert build._pip() == pip
    assert (scratch / "venv" / "installed").exists()  # it is not made again


def test_own_pip_comes_first(scratch: Path) -> None:
    """A Python that has pip needs no environment for it."""
    assert build._pip() == own_pip()
    assert not (scratch / "venv").exists()


def test_lock_covers_every_list(monkeypatch: pytest.MonkeyPatch) -> None:
    """The list of each tree is locked for the oldest Python that uses it, the tools' for all that they run on."""
    locked: dict[str, list[Target]] = {}
    monkeypatch.setattr(wheels, "relock", lambda lock, targets, _pip: locked.setdefault(lock, targets))

    assert build.main(["lock"]) == 0
    trees = {build._lock(tree): [target] for tree, _, target in build.TREES}
    assert locked == {**trees, build.TOOLS: build.TOOL_TARGETS}


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [((0, 0, 0, 0, 0), 0), ((0, 0, 0, 0, 5), 5), ((0, 3, 0, 0, 1), 3), ((2, 0, 0, 0, 0), 2), ((0, 0, 0, 13, 0), 13)],
)
def test_every_check_runs_and_the_first_failure_counts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], statuses: tuple[int, ...], expected: int
) -> None:
    """Each check is printed and runs whatever the others say, pytest last and with our arguments."""
    ran: list[list[str]] = []

    def call(command: list[str], cwd: str, env: dict[str, str]) -> int:
        assert (cwd, env["NODE_IPAM_DIST"]) == (build.ROOT, build.DIST)
        ran.append(command)
        return statuses[len(ran) - 1]

    monkeypatch.setattr(build, "tools", lambda: "PYTHON")
    monkeypatch.setattr(build, "build", lambda _dist: None)
    monkeypatch.setattr(subprocess, "call", call)

    assert build.main(["test", "tests/test_build.py", "-k", "a b", "-x"]) == expected
    assert ran == [
        ["PYTHON", "-m", "ruff", "check"],
        ["PYTHON", "-m", "ruff", "format", "--check"],
        ["PYTHON", "-m", "mypy"],
        [os.path.join(build.VENV, "bin/zizmor"), *build.ZIZMOR[1:]],
        ["PYTHON", "-m", *build.PYTEST, "tests/test_build.py", "-k", "a b", "-x"],
    ]
    assert capsys.readouterr().out.splitlines() == [
        "+ ruff check",
        "+ ruff format --check",
        "+ mypy",
        f"+ {' '.join(build.ZIZMOR)}",
        f"+ {' '.join(build.PYTEST)} tests/test_build.py -k 'a b' -x",
    ]


def test_coverage_runs_on_an_archive_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """dist/ is left alone, pytest gets our arguments and what its processes need, and a failing test is a failure."""
    ran: list[list[str]] = []

    def call(command: list[str], cwd: str, env: dict[str, str]) -> int:
        assert (cwd, env["NODE_IPAM_DIST"], os.path.dirname(env["COVERAGE_FILE"])) == (build.ROOT, *folders)
        assert os.path.exists(env["COVERAGE_PROCESS_START"])
        ran.append(command[2:])
        return int("pytest" in command)

    folders = (build.MEASURED, build.SCRATCH)
    built: list[str] = []
    monkeypatch.setattr(build, "tools", lambda: "PYTHON")
    monkeypatch.setattr(build, "build", built.append)
    monkeypatch.setattr(subprocess, "call", call)

    assert build.main(["coverage", "-k", "a b"]) == 1
    assert built == [build.MEASURED]
    assert [command[0] for command in ran] == ["tests.support.measured", "coverage", "pytest", "coverage", "coverage"]
    assert ran[2] == [*build.PYTEST, "-m", "not exact", "-k", "a b"]


@pytest.mark.parametrize(
    ("command", "python", "arguments"),
    [
        ("demo", sys.executable, []),
        ("bench", "PYTHON", ["--rounds", "3", "--vs", "/opt/cni/bin/other x", "-o", "json"]),
    ],
)
def test_demo_and_bench_are_modules_of_tests(
    monkeypatch: pytest.MonkeyPatch, command: str, python: str, arguments: list[str]
) -> None:
    """They run on the built archive, from the checkout, with their arguments; the demo without any tools."""
    became: list[object] = []
    monkeypatch.setattr(build, "tools", lambda: "PYTHON")
    monkeypatch.setattr(build, "build", lambda _dist: None)
    monkeypatch.setattr(os, "chdir", became.append)
    monkeypatch.setattr(os, "execve", lambda path, argv, env: became.extend([path, argv, env["NODE_IPAM_DIST"]]))

    build.main([command, *arguments])

    assert became == [build.ROOT, python, [python, "-m", f"tests.{command}", *arguments], build.DIST]


def test_build_names_what_is_wrong(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A failure is one sentence on stderr and exit status 1."""

    def fail(_dist: str) -> None:
        raise FetchError("pip could not fetch")

    monkeypatch.setattr(build, "build", fail)

    assert build.main(["build"]) == 1
    assert capsys.readouterr() == ("", "build.py: pip could not fetch\n")


def test_no_place_to_build_in(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file where the folder should be is told in a line."""
    (tmp_path / "dist").touch()

    assert build.main(["build", "--dist", str(tmp_path / "dist")]) == 1
    assert capsys.readouterr().err == f"build.py: [Errno 17] File exists: '{tmp_path}/dist'\n"


USAGE_ERRORS = [
    [],
    ["make"],
    ["build", "--dost", "x"],
    ["build", "x"],
    ["lock", "x"],
    ["release", "x"],
    ["demo", "extra"],
    ["demo", "--nope"],
    ["bench", "x"],
    ["bench", "--rounds", "0"],
    ["bench", "--nodes", "-1"],
]


@pytest.mark.parametrize("argv", USAGE_ERRORS, ids=" ".join)
def test_unknown_arguments(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """What build.py does not know it refuses, exit status 2."""
    with pytest.raises(SystemExit) as ended:
        build.main(argv)

    assert ended.value.code == 2
    assert "usage: build.py" in capsys.readouterr().err


# Words that the help of each command must have.
HELP = {
    "": ["build", "demo", "test", "coverage", "bench", "lock", "release"],
    "build": ["--dist DIR"],
    "demo": ["leaves only"],
    "test": ["[PYTEST-ARGUMENT ...]", "-k ranges", "FUZZ=N", "A run leaves"],
    "coverage": ["[PYTEST-ARGUMENT ...]", "-k ranges", "FUZZ=N", "A run leaves"],
    "bench": ["--rounds N", "--vs COMMAND", "--output {text,json}", "--python PATH", "--nodes N", "Leaves only"],
    "lock": ["lock files"],
    "release": ["SHA256SUMS"],
}


@pytest.mark.parametrize("command", HELP)
def test_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Every command has a complete --help of at most 100 columns, which does nothing else."""
    with pytest.raises(SystemExit) as ended:
        build.main([*filter(None, [command]), "--help"])

    printed = capsys.readouterr().out
    assert ended.value.code == 0
    assert printed.startswith(f"usage: build.py {command}".rstrip())
    assert [word for word in HELP[command] if word not in printed] == []
    assert max(map(len, printed.splitlines())) <= 100


def test_an_old_python_is_told_in_one_sentence() -> None:
    """build.py parses on Python 3.6, and says there which Python it needs."""
    path = os.path.join(build.ROOT, "build.py")
    ast.parse(Path(path).read_text(encoding="utf-8"), feature_version=(3, 6))
    code = f"import runpy, sys; sys.version_info = (3, 8, 18, 'final', 0); runpy.run_path({path!r}, {{}}, '__main__')"

    done = subprocess.run([sys.executable, "-c", code], cwd=build.ROOT, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("build.py: Python 3.10 or later is needed")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("python", sorted(glob.glob(os.path.expanduser("~/.pyenv/versions/3.[678].*/bin/python3"))))
def test_old_pythons_of_this_machine(python: str) -> None:
    """The old Pythons that there are here get the same sentence."""
    done = subprocess.run([python, "build.py", "build"], cwd=build.ROOT, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert done.stderr.startswith("build.py: Python 3.10 or later is needed")


def test_nothing_but_the_future_import_keeps_old_pythons_from_parsing() -> None:
    """A future import that Python 3.6 does not know would be a SyntaxError before the first statement."""
    tree = ast.parse(Path(build.ROOT, "build.py").read_text(encoding="utf-8"))

    assert [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module == "__future__"] == []


def make_checkout(directory: Path, readme: str) -> str:
    """A git checkout with this README."""
    (directory / "README.md").write_text(readme)
    git = ["git", "-C", str(directory), "-c", "user.name=test", "-c", "user.email=test@example.com"]
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "first"]):
        subprocess.run([*git, *arguments], check=True)
    return str(directory)


@pytest.mark.parametrize("entry", ["### 0.9.0", "* **0.9.0** (June): more", "| 0.9.0 | more |", "0.9.0: more"])
def test_release_of_a_version_with_an_entry(tmp_path: Path, entry: str) -> None:
    """A clean checkout whose README has the version under "Versions" can be released."""
    release.check(make_checkout(tmp_path, f"# x\n\n## Versions\n\n{entry}\n\n## Other\n"), "0.9.0")


@pytest.mark.parametrize(
    "readme", ["# x\n0.9.0\n", "## Versions\n### 0.9.01\n", "## Versions\n0.8.0\n## Other\n0.9.0\n"]
)
def test_release_needs_an_entry(tmp_path: Path, readme: str) -> None:
    """Without an entry for this version there is no release."""
    with pytest.raises(release.ReleaseError, match=r"no entry for 0\.9\.0"):
        release.check(make_checkout(tmp_path, readme), "0.9.0")


def test_release_of_a_changed_checkout(tmp_path: Path) -> None:
    """Uncommitted changes, and files that git does not know, are named and refused."""
    root = make_checkout(tmp_path, "## Versions\n### 0.9.0\n")
    (tmp_path / "new.py").touch()

    with pytest.raises(release.ReleaseError, match=r"uncommitted changes, commit them first: new\.py"):
        release.check(root, "0.9.0")


def test_release_outside_of_git(tmp_path: Path) -> None:
    """An unpacked archive of the sources is no checkout."""
    with pytest.raises(release.ReleaseError, match="is not a git checkout"):
        release.check(str(tmp_path), "0.9.0")


def test_files_of_a_release(tmp_path: Path) -> None:
    """The bill of materials is the one in the archive, and sha256sum agrees with the sums."""
    with zipfile.ZipFile(tmp_path / archive.FILE, "w") as made:
        made.writestr("bom.cdx.json", "{}")

    assert release.write_extras(str(tmp_path)) == ["bom.cdx.json", "SHA256SUMS"]

    assert (tmp_path / "bom.cdx.json").read_bytes() == b"{}"
    subprocess.run(["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"], cwd=tmp_path, check=True)


def test_release_is_a_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """It checks first, and a failed check is one sentence."""

    def fail(root: str, version: str) -> None:
        raise release.ReleaseError(f"not ready: {root == build.ROOT} {version}")

    monkeypatch.setattr(release, "check", fail)

    assert build.main(["release"]) == 1
    assert capsys.readouterr() == ("", f"build.py: not ready: True {__version__}\n")


def test_release_of_this_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A checkout that is ready gets the archive, its links, the bill of materials and the sums."""
    monkeypatch.setattr(release, "check", lambda _root, _version: None)
    monkeypatch.setattr(build, "DIST", str(tmp_path))

    assert build.main(["release"]) == 0

    assert sorted(os.listdir(tmp_path)) == sorted([archive.FILE, *archive.LINKS, "bom.cdx.json", "SHA256SUMS"])
    assert [line.rpartition("/")[2] for line in capsys.readouterr().out.splitlines()[-2:]] == [
        release.BOM,
        release.SUMS,
    ]
    subprocess.run(["sha256sum", "--check", "--strict", "--quiet", release.SUMS], cwd=tmp_path, check=True)


def test_tools_need_a_newer_python(monkeypatch: pytest.MonkeyPatch) -> None:
    """On 3.9 the tools say what they need; build works there, as the artifact tests show."""
    monkeypatch.setattr(sys, "version_info", (3, 9, 18))

    with pytest.raises(build.BuildError, match=r"3\.10"):
        build.tools()
