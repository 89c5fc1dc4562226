"""The archive format: first line, bytes, and how a file is put in place."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import pytest

from plugin.ops.install import archive

PRINTS = {
    "plugin/__init__.py": b"import sys\ndef go(): print(sys.argv, sys.flags.isolated, sys.flags.no_site)\n",
    "__main__.py": b"from plugin import go\ngo()\n",
}


@pytest.mark.parametrize(
    ("interpreter", "form"),
    [
        ("/usr/bin/python3", b"/proc/self/fd/"),
        ("/usr/bin/python3.14", b"/proc/self/fd/"),
        ("/usr/libexec/platform-python", b"=sys.argv[1:2]"),
        ("/usr/local/bin/python3.12", b"=sys.argv[1:2]"),
    ],
)
def test_shebang_is_quick_where_it_fits(interpreter: str, form: bytes) -> None:
    """The interpreters nodes have get the quick first line, in 127 bytes; most get what outlives a replacement."""
    line = archive.shebang(interpreter)

    assert line.startswith(f"#!{interpreter} -ISc".encode())
    assert form in line
    assert len(line.rstrip(b"\n")) <= 127


def test_shebang_of_long_path_is_plain() -> None:
    """A path that leaves no room for the quick form gets the plain one."""
    interpreter = "/opt/" + "x" * 60 + "/bin/python3"

    assert archive.shebang(interpreter) == f"#!{interpreter} -IS\n".encode()


@pytest.mark.parametrize(
    "interpreter", ["python3", "/opt/my python/python3", "/usr/bin/python3\n", "", "/" + "x" * 125]
)
def test_shebang_refuses_what_the_kernel_would_misread(interpreter: str) -> None:
    """Relative paths, blanks and paths too long are no interpreters for a first line."""
    with pytest.raises(ValueError, match="interpreter"):
        archive.shebang(interpreter)


@pytest.mark.parametrize("name", ["archive.pyz", "a-link"])
@pytest.mark.parametrize(("folder", "form"), [("", b" -IScfrom "), ("x" * 20, b" -IScimport "), ("x" * 60, b" -IS\n")])
def test_packed_file_runs(name: str, folder: str, form: bytes) -> None:
    """By each form of first line, go() finds the path as called and the arguments, isolated and without site."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="") as short:  # tmp_path is too long for the quick form
        interpreter = os.path.join(short, folder, "python3" if folder else "p")
        os.makedirs(os.path.dirname(interpreter), exist_ok=True)
        os.symlink(os.path.realpath(sys.executable), interpreter)
        data = archive.pack(PRINTS, interpreter)
        archive.place(os.path.join(short, "archive.pyz"), data)
        archive.link(os.path.join(short, "a-link"), "archive.pyz")
        called = os.path.join(short, name)

        done = subprocess.run([called, "one", "two words"], capture_output=True, text=True, check=True)

    assert form in data[:128]
    first = [] if form == b" -IS\n" else ["-c"]
    assert done.stdout == f"{[*first, called, 'one', 'two words']} 1 1\n"


def test_packed_bytes_depend_on_contents_alone() -> None:
    """The order in which files were found does not show; what the first request reads comes first."""
    entries = {**PRINTS, "plugin/process.pyc": b"", "licenses/a": b"a", "vendor/b.py": b"b"}

    data = archive.pack(entries)

    assert archive.pack(dict(reversed(entries.items()))) == data
    # The very bytes: another Python's zipfile has to come to the same.
    assert hashlib.sha256(data).hexdigest() == "3ec8a659215c0fd4300d20cebc05f8c56c268f58830d09a2b3d548ed9c725ecb"


def test_packed_entries(tmp_path: Path) -> None:
    """Entries are stored, dated 1980, of a regular file with mode 0644, and the needed first."""
    path = tmp_path / "archive.pyz"
    path.write_bytes(archive.pack({**PRINTS, "plugin/a.py": b"", "plugin/process.pyc": b""}))

    with zipfile.ZipFile(path) as packed:
        infos = packed.infolist()

    assert [info.filename for info in infos] == [
        "plugin/__init__.py",
        "plugin/process.pyc",
        "__main__.py",
        "plugin/a.py",
    ]
    assert {(i.compress_type, i.date_time, i.create_system, i.external_attr) for i in infos} == {
        (zipfile.ZIP_STORED, (1980, 1, 1, 0, 0, 0), 3, 0o100644 << 16)
    }


def test_unpack_gives_back_what_was_packed(tmp_path: Path) -> None:
    """What install reads of itself is what was built."""
    path = tmp_path / "archive.pyz"
    path.write_bytes(archive.pack(PRINTS))

    assert archive.unpack(str(path)) == PRINTS


def test_place_replaces_whole(tmp_path: Path) -> None:
    """The new file is another one under the old name, with its mode whatever the umask, and nothing else is left."""
    path = tmp_path / "file"
    path.write_bytes(b"old")
    before = path.stat().st_ino
    umask = os.umask(0o077)
    try:
        archive.place(str(path), b"new")
    finally:
        os.umask(umask)

    assert path.read_bytes() == b"new"
    assert path.stat().st_ino != before
    assert path.stat().st_mode & 0o7777 == 0o755
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("put", [lambda path: archive.place(path, b"new"), lambda path: archive.link(path, "target")])
def test_failed_replacement_leaves_nothing(tmp_path: Path, put: object) -> None:
    """Where the name cannot be taken (here a directory has it), no temporary file stays behind."""
    (tmp_path / "name" / "inside").mkdir(parents=True)

    assert callable(put)
    with pytest.raises(OSError):
        put(str(tmp_path / "name"))

    assert os.listdir(tmp_path) == ["name"]


def test_link_replaces_file_and_link(tmp_path: Path) -> None:
    """A link takes the place of a file, and of a link to elsewhere."""
    path = tmp_path / "kube-node"
    path.write_bytes(b"the Go plugin")

    for target in ("one", "two"):
        archive.link(str(path), target)

        assert os.readlink(path) == target
    assert os.listdir(tmp_path) == ["kube-node"]


def test_files_go_where_one_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bare name is a file in the working directory."""
    monkeypatch.chdir(tmp_path)

    archive.place("file", b"data")
    archive.link("link", "file")

    assert (tmp_path / "link").read_bytes() == b"data"
