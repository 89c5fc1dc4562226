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
    "plugin/start/bootstrap.py": b'"""Not packed."""\nimport posix\nexec(posix.read(f, END)[BEGIN:])\n',
    "plugin/start/launch.py": b"import sys\nprint(sys.argv, sys.flags.isolated, sys.flags.no_site, sys.path[:1])\n",
}


@pytest.mark.parametrize(
    "interpreter", ["/usr/bin/python3", "/usr/libexec/platform-python", "/usr/local/bin/python3.12", "/" + "x" * 50]
)
def test_shebang_is_quick_where_it_fits(interpreter: str) -> None:
    """The interpreters nodes have, and longer paths, get the quick first line, in 127 bytes."""
    line = archive.shebang(interpreter)

    assert line.startswith(f"#!{interpreter} -ISc".encode())
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
@pytest.mark.parametrize(("folder", "form"), [("", b" -IScimport "), ("x" * 60, b" -IS\n")])
def test_packed_file_runs(name: str, folder: str, form: bytes) -> None:
    """By each form of first line, the bootstrap has the file open behind itself; isolated and without site."""
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
    found = done.stdout.partition("] 1 1 ")
    assert found[0] == f"{[*first, called, 'one', 'two words']}"[:-1]
    assert short not in found[2]


def test_packed_bytes_depend_on_contents_alone() -> None:
    """The order in which files were found does not show; what is read first comes first."""
    entries = {**PRINTS, "licenses/a": b"a", "vendor/b.py": b"b"}

    data = archive.pack(entries)

    assert archive.pack(dict(reversed(entries.items()))) == data
    # The very bytes: another Python's zipfile has to come to the same.
    assert hashlib.sha256(data).hexdigest() == "3796758f5ae90c0b066a42b47f5e8748aa76b7bc372f64d5a6ad4e938444f627"


def test_packed_entries(tmp_path: Path) -> None:
    """Entries are stored, dated 1980, of a regular file with mode 0644, and the needed first."""
    path = tmp_path / "archive.pyz"
    path.write_bytes(archive.pack({**PRINTS, "plugin/a.py": b"", "plugin/start/importer.py": b""}))

    with zipfile.ZipFile(path) as packed:
        infos = packed.infolist()

    assert [info.filename for info in infos] == [
        "plugin/start/launch.py",
        "plugin/start/importer.py",
        "__main__.py",
        "plugin/a.py",
        "plugin/start/bootstrap.py",
    ]
    assert {(i.compress_type, i.date_time, i.create_system, i.external_attr) for i in infos} == {
        (zipfile.ZIP_STORED, (1980, 1, 1, 0, 0, 0), 3, 0o100644 << 16)
    }


def test_unpack_gives_back_what_was_packed(tmp_path: Path) -> None:
    """What install reads of itself is what was built."""
    path = tmp_path / "archive.pyz"
    path.write_bytes(archive.pack(PRINTS))

    found = archive.unpack(str(path))
    assert found.pop("__main__.py").count(b"exec(") == 1
    assert found == PRINTS


@pytest.mark.parametrize(
    ("at", "value", "error"),
    [(8, 1, "RuntimeError"), (10, 99, "NotImplementedError"), (10, 8, "error"), (10, 12, "OSError")],
    ids=["encrypted", "unknown method", "not deflated", "not bzipped"],
)
def test_unpack_of_a_damaged_archive(tmp_path: Path, at: int, value: int, error: str) -> None:
    """A changed field of every header, PKWARE's APPNOTE section 4.3.12, is one kind of error."""
    data = bytearray(archive.pack(PRINTS))
    for signature, offset in ((b"PK\1\2", at), (b"PK\3\4", at - 2)):
        place = data.find(signature)
        while place >= 0:
            data[place + offset] = value
            place = data.find(signature, place + 4)
    (tmp_path / "damaged").write_bytes(data)

    with pytest.raises(zipfile.BadZipFile, match=f"^{error}$"):
        archive.unpack(str(tmp_path / "damaged"))


def test_bootstrap() -> None:
    """As long as ever with the first line; the same files have the same identity whatever the interpreter is."""
    bootstrap = PRINTS["plugin/start/bootstrap.py"] + b"'IDENTITY'\n"
    entries = {**PRINTS, "plugin/start/bootstrap.py": bootstrap}
    others = [archive.pack(entries), archive.pack(entries, "/opt/python3"), archive.pack({**entries, "x": b""})]
    first, again, other = (data[: archive.BOOTSTRAP].partition(b"\n")[2].rstrip() for data in others)

    assert first == again != other
    assert first.startswith(b"import posix\nexec(posix.read(f, ")
    assert b"IDENTITY" not in first
    assert [data.index(b"PK\3\4") for data in others] == [archive.BOOTSTRAP] * 3


def test_bootstrap_that_is_too_long() -> None:
    """It has to fit into what the first line reads."""
    with pytest.raises(ValueError, match="bootstrap"):
        archive.pack({**PRINTS, "plugin/start/bootstrap.py": b'""""""\n' + b"x = 1\n" * 300})


def test_another_interpreter() -> None:
    """A file for the same interpreter is the very same; for another one its first line is another."""
    data = archive.pack(PRINTS)
    other = archive.with_interpreter(data, "/opt/python3")

    assert archive.with_interpreter(data, archive.INTERPRETER) is data
    assert other == archive.pack(PRINTS, "/opt/python3")
    assert other.startswith(b"#!/opt/python3 -IS")


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
