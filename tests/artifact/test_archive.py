"""The built archive: its bytes, what is in it, and that the bundled packages work out of it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import build
from plugin import __version__
from plugin.ops.install import archive
from plugin.start import importer
from plugin.vendor import wheels
from tests.support import parts
from tests.support.dist import FROM_ARCHIVE

PYTHONS = parts.pythons()
PINS = {tree: wheels.pins(build._lock(tree)) for tree, _, _ in build.TREES}


def run_build(root: str, dist: Path, python: str = sys.executable, umask: int = 0o022, **environ: str) -> Path:
    """Build as a user would, out of reach of any package index; the archive's path."""
    environ = {**os.environ, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "", **environ}
    command = [python, os.path.join(root, "build.py"), "build", "--dist", str(dist)]
    previous = os.umask(umask)
    try:
        subprocess.run(command, env=environ, check=True, stdout=subprocess.DEVNULL)
    finally:
        os.umask(previous)
    return dist / archive.FILE


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive, built from this checkout."""
    return run_build(build.ROOT, tmp_path_factory.mktemp("built"))


@pytest.fixture(scope="module")
def entries(built: Path) -> dict[str, bytes]:
    """Its files, name to content."""
    return archive.unpack(str(built))


@pytest.mark.parametrize(
    ("umask", "environ"),
    [
        (0o077, {"TZ": "America/New_York", "PYTHONHASHSEED": "1"}),
        (0o022, {"TZ": "UTC", "PYTHONHASHSEED": "2", "LC_ALL": "C"}),
        (0o000, {"TZ": "Asia/Kathmandu", "LC_ALL": "tr_TR.UTF-8", "SOURCE_DATE_EPOCH": "1700000000"}),
    ],
)
def test_same_bytes_anywhere(built: Path, tmp_path: Path, umask: int, environ: dict[str, str]) -> None:
    """Time zone, umask, locale and hash seed leave no trace in the archive."""
    again = run_build(build.ROOT, tmp_path, umask=umask, **environ)

    assert again.read_bytes() == built.read_bytes()
    assert again.stat().st_mode & 0o7777 == 0o755


@pytest.mark.parametrize("version", PYTHONS)
def test_same_bytes_from_any_python(built: Path, tmp_path: Path, version: str) -> None:
    """Whichever Python builds it, the archive is the same."""
    again = run_build(build.ROOT, tmp_path, python=PYTHONS[version])

    assert again.read_bytes() == built.read_bytes()


def test_same_bytes_from_any_checkout(built: Path, tmp_path: Path) -> None:
    """Another path, other time stamps, another order of directory entries, private files: the archive is the same."""
    files = [
        path for path in Path(build.ROOT, "plugin").rglob("*") if path.is_file() and "__pycache__" not in str(path)
    ]
    files += [Path(build.ROOT, name) for name in ("build.py", "LICENSE", "tests/__init__.py")]
    files += Path(build.ROOT, "tests", "bench").glob("*.py")  # build.py has their options
    files += list(Path(build.SCRATCH, "wheels").iterdir())
    for path in sorted(files, reverse=True):
        target = tmp_path / path.relative_to(build.ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
        target.chmod(0o600)
    (tmp_path / "plugin" / ".#verbs.py").write_text("an editor's")
    (tmp_path / "plugin" / "notes.txt").write_text("a developer's")

    again = run_build(str(tmp_path), tmp_path / "dist")

    assert again.read_bytes() == built.read_bytes()


def test_size(built: Path) -> None:
    """The archive is at most 2.5 MB."""
    assert built.stat().st_size <= 2_500_000


def test_dist_holds_the_archive_and_relative_links(built: Path) -> None:
    """One executable file and the two names to call it by, which can be moved together."""
    links = {name: os.readlink(built.parent / name) for name in archive.LINKS}

    assert links == {"kube-node": "node-ipam.pyz", "node-annotation": "node-ipam.pyz"}
    assert sorted(os.listdir(built.parent)) == ["kube-node", "node-annotation", "node-ipam.pyz"]
    assert built.stat().st_mode & 0o7777 == 0o755


def test_first_line(built: Path) -> None:
    """The node's own Python, isolated, without site, straight into main, in at most 127 bytes."""
    line = built.read_bytes().split(b"\n")[0]

    assert line.startswith(b"#!/usr/bin/python3 -ISc")
    assert len(line) <= 127


def test_top_level(entries: dict[str, bytes]) -> None:
    """The archive has what it needs at its top and nothing else."""
    assert {name.split("/")[0] for name in entries} == {"__main__.py", "bom.cdx.json", "licenses", "plugin", "vendor"}
    assert {name.split("/")[1] for name in entries if name.startswith("vendor/")} == {"common", "py39", "py310"}


def test_only_python_and_texts(entries: dict[str, bytes]) -> None:
    """No byte code, no shared object, no package metadata: source files, licences and the bill of materials."""
    odd = [name for name in entries if not name.endswith(".py") and not name.startswith("licenses/")]

    assert odd == ["bom.cdx.json"]


def test_own_code_is_complete(entries: dict[str, bytes]) -> None:
    """All of plugin/ is in the archive as it is here, except what only builds."""
    here = {str(path.relative_to(build.ROOT)): path.read_bytes() for path in Path(build.ROOT, "plugin").rglob("*.py")}
    only_builds = {name for name in here if name.startswith("plugin/vendor/") and name != "plugin/vendor/__init__.py"}

    assert {name: data for name, data in entries.items() if name.startswith("plugin/")} == {
        name: data for name, data in here.items() if name not in only_builds
    }
    assert entries["__main__.py"].endswith(b"exec(posix.read(f, %d))\n" % archive.BOOTSTRAP)


def test_packages_are_known_to_the_importer(entries: dict[str, bytes]) -> None:
    """It looks into the archive for these and for nothing else."""
    tops = {name.split("/")[2].removesuffix(".py") for name in entries if name.startswith("vendor/")}

    assert {*importer.PACKAGES} == {"plugin", *tops}


@pytest.mark.parametrize("tree", PINS)
def test_packages(entries: dict[str, bytes], tree: str) -> None:
    """Each tree of vendor/ holds the packages of its lock file; the shims lie with the common ones."""
    found = {name.split("/")[2].removesuffix(".py") for name in entries if name.startswith(f"vendor/{tree}/")}
    imports = {"PyYAML": "yaml"}
    expected = {imports.get(pin.project, pin.project) for pin in PINS[tree]}

    assert found == (expected | {"certifi"} if tree == "common" else expected)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("licenses/node-ipam/LICENSE", b"Apache License"),
        ("licenses/requests/LICENSE", b"Apache License"),
        ("licenses/requests/NOTICE", b"Kenneth Reitz"),
        ("licenses/urllib3/LICENSE.txt", b"MIT License"),
        ("licenses/idna/LICENSE.md", b"BSD 3-Clause License"),
        ("licenses/PyYAML/LICENSE", b"Kirill Simonov"),
    ],
)
def test_licences(entries: dict[str, bytes], name: str, words: bytes) -> None:
    """The licence of each distribution that is bundled goes with it."""
    assert words in entries[name]


def test_each_package_has_a_licence(entries: dict[str, bytes]) -> None:
    """A package added to a lock file brings its licence along."""
    licensed = {name.split("/")[1] for name in entries if name.startswith("licenses/")}

    assert licensed == {"node-ipam", *(pin.project for pins in PINS.values() for pin in pins)}


def test_bill_of_materials(entries: dict[str, bytes]) -> None:
    """It names the versions and hashes of the lock files, with licences and dependencies, and no time of making."""
    bom = json.loads(entries["bom.cdx.json"])
    locked = {(pin.project, pin.version): pin.hashes for pins in PINS.values() for pin in pins}
    named = {(part["name"], part["version"]): {h["content"] for h in part["hashes"]} for part in bom["components"]}
    references = {part["bom-ref"] for part in bom["components"]}
    needs = {link["ref"]: set(link["dependsOn"]) for link in bom["dependencies"]}

    assert (bom["bomFormat"], bom["specVersion"]) == ("CycloneDX", "1.6")
    assert named == locked
    assert all(part["licenses"][0]["expression"] for part in bom["components"])
    assert bom["metadata"]["component"]["version"] == __version__
    assert needs[f"node-ipam@{__version__}"] == references
    for tree in ("py39", "py310"):
        requests, urllib3 = (f"pkg:pypi/{pin.project}@{pin.version}" for pin in PINS[tree])
        assert needs[requests] == {urllib3, "pkg:pypi/idna@" + PINS["common"][0].version}
    assert not {"serialNumber", "timestamp"} & {*bom, *bom["metadata"]}


IMPORTS = (
    FROM_ARCHIVE
    + """
from plugin.kube import wire
unasked = sorted({"idna", "requests.api", "requests.sessions"} & set(sys.modules))
import requests, urllib3, idna, certifi, yaml.composer, yaml.parser, yaml.reader, yaml.scanner, json
modules = (requests, urllib3, idna, certifi, yaml)
assert idna.encode("b\u00fccher.example", uts46=True) == b"xn--bcher-kva.example"
assert requests.Session and requests.codes.ok == 200 and issubclass(requests.Timeout, requests.RequestException)
assert requests.exceptions.SSLError and not hasattr(requests, "certificates")
try:
    requests.get("https://127.0.0.1:1/")
except OSError as error:
    unverified = str(error)
print(json.dumps({
    "versions": [requests.__version__, urllib3.__version__, idna.__version__],
    "files": [module.__file__ for module in modules],
    "unverified": unverified,
    "unasked": unasked,
    "extra": sorted({"chardet", "charset_normalizer", "simplejson", "socks", "brotli"} & set(sys.modules)),
}))
"""
)


@pytest.mark.parametrize("version", PYTHONS)
def test_packages_work_from_the_archive(built: Path, tmp_path: Path, version: str) -> None:
    """Every Python finds its versions in the archive, quietly, writes nothing, and no public CA is at hand."""
    environ = {"TMPDIR": str(tmp_path), "HOME": "/nonexistent"}
    command = [PYTHONS[version], "-IS", "-c", IMPORTS, str(built)]

    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    tree = "py39" if version == "3.9" else "py310"
    idna = next(pin.version for pin in PINS["common"] if pin.project == "idna")
    assert told["versions"] == [*(pin.version for pin in PINS[tree]), idna]
    assert [path for path in told["files"] if not path.startswith("node-ipam.pyz/vendor/")] == []
    assert told["files"][0].startswith(f"node-ipam.pyz/vendor/{tree}/")
    assert "no-public-CA" in told["unverified"]
    assert (told["extra"], told["unasked"]) == ([], [])
    assert os.listdir(tmp_path) == []


def test_packages_of_the_node_do_not_come_first(built: Path, tmp_path: Path) -> None:
    """Run without -S, the archive's packages are still the ones imported."""
    (tmp_path / "requests.py").write_text("raise SystemExit('the node\\'s requests')")
    program = FROM_ARCHIVE + "import requests; print(requests.__file__)"
    environ = {**os.environ, "PYTHONPATH": str(tmp_path)}

    done = subprocess.run(
        [sys.executable, "-c", program, str(built)], env=environ, cwd="/", stdout=subprocess.PIPE, text=True, check=True
    )

    assert done.stdout.startswith("node-ipam.pyz/vendor/")


def test_archive_is_a_sound_zip(built: Path) -> None:
    """Any unzip reads it, checksums included, and no name is there twice."""
    with zipfile.ZipFile(built) as packed:
        assert packed.testzip() is None
        assert len(set(packed.namelist())) == len(packed.namelist())


def test_build_prints_size_and_digest(built: Path, tmp_path: Path) -> None:
    """What build prints is the archive's SHA-256, as sha256sum would, and its size."""
    command = [sys.executable, os.path.join(build.ROOT, "build.py"), "build", "--dist", str(tmp_path)]

    printed = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path).stdout

    assert printed.startswith(f"{hashlib.sha256(built.read_bytes()).hexdigest()}  node-ipam.pyz\n")
    assert f"{built.stat().st_size:,} bytes" in printed
