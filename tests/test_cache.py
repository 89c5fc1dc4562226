"""Small files that may be lost, replaced or damaged at any time, and never do harm."""

from __future__ import annotations

import errno
import os
import posix
import resource
import signal
import subprocess
import sys
import time
import types
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugin import deadline, entries
from plugin.cache import Cache, is_entry
from plugin.node import memory
from plugin.start import bytecode, launch, warm
from tests.support.budget import examples
from tests.support.recorder import ROOT

BODY = b"the body\nof an entry \0\xff"
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the cache is; not made yet."""
    return tmp_path / "node-ipam"


def files(path: Path) -> list[str]:
    """What is in the directory."""
    return sorted(os.listdir(path)) if os.path.isdir(path) else []


def other_process(code: str, path: Path) -> subprocess.Popen[bytes]:
    """A process in which store is a Cache of this directory; it is told to end by the end of its stdin."""
    start = f"import os, sys; sys.path[:0] = [{ROOT!r}]; from plugin.cache import Cache; store = Cache({str(path)!r})"
    command = [sys.executable, "-c", f"{start}\n{code}"]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """No file of this process grows beyond so many bytes, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_location() -> None:
    """The environment may name the directory; the usual one is in memory and gone after a reboot."""
    assert entries.location({}) == "/run/node-ipam"
    assert entries.location({"NODE_IPAM_CACHE": ""}) == "/run/node-ipam"
    assert entries.location({"NODE_IPAM_CACHE": "/x"}) == "/x"


def test_relative_location() -> None:
    """A relative path names no directory: it would be another one for each caller."""
    assert entries.location({"NODE_IPAM_CACHE": "cache"}) == "/run/node-ipam"


@examples(100)
@given(st.binary(), st.binary())
def test_digest(one: bytes, other: bytes) -> None:
    """A digest is a short file name, the same for the same bytes and, but for bad luck, for no others."""
    assert (entries.digest(one) == entries.digest(other)) == (one == other)
    assert entries.digest(one).isalnum() and len(entries.digest(one)) < 40


def test_digest_of_zero_bytes() -> None:
    """Bytes that add nothing to a number tell two digests apart all the same."""
    assert len({entries.digest(b"\0" * length) for length in range(20)}) == 20


def test_no_descriptor_is_left(path: Path) -> None:
    """Its directory is open for as long as it is of use, in a long process too."""
    before = os.listdir("/proc/self/fd")
    for _ in range(3):
        assert Cache(str(path)).write("name", BODY)
    assert os.listdir("/proc/self/fd") == before


@pytest.mark.parametrize("body", [b"", b"\n", BODY, b"x" * 1_000_000])
def test_what_is_written_is_read(path: Path, body: bytes) -> None:
    """An entry comes back as it was, to this process and to others, and leaves one file."""
    assert Cache(str(path)).write("name", body)
    assert Cache(str(path)).read("name") == body
    assert files(path) == ["name"]


def test_written_again(path: Path) -> None:
    """A second write replaces the first, a shorter one as well."""
    store = Cache(str(path))
    store.write("name", b"long" * 100)
    store.write("name", b"short")
    assert (store.read("name"), files(path)) == (b"short", ["name"])


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_for_its_owner_alone(path: Path, umask: int) -> None:
    """Nobody else may look in, whatever the umask."""
    previous = os.umask(umask)
    try:
        store = Cache(str(path))
        store.write("name", BODY)
        with store.lock("lock"):
            pass
    finally:
        os.umask(previous)
    assert path.stat().st_mode & 0o777 == 0o700
    assert [(path / name).stat().st_mode & 0o777 for name in files(path)] == [0o600, 0o600]


def test_nothing_there(path: Path) -> None:
    """A directory that is not there is an empty cache; looking makes none."""
    store = Cache(str(path))
    assert (store.read("name"), store.target("name"), list(store.names())) == (None, "", [])
    store.remove("name")
    store.prune("name", 0.0)
    assert not path.exists()


def test_directory_that_vanishes(path: Path) -> None:
    """A directory removed under a process that has used it is an empty cache to that, and made anew by the next."""
    store = Cache(str(path))
    store.write("name", BODY)
    os.unlink(path / "name")
    path.rmdir()

    assert store.read("name") is None
    assert not store.write("name", BODY)
    assert Cache(str(path)).write("name", BODY)


def test_every_truncation_is_none(path: Path) -> None:
    """An entry cut off at any length, as by a full disk, is no entry."""
    store = Cache(str(path))
    store.write("name", BODY)
    whole = (path / "name").read_bytes()
    found = []
    for length in range(len(whole)):
        (path / "name").write_bytes(whole[:length])
        found.append(store.read("name"))
    assert found == [None] * len(whole)


@pytest.mark.parametrize("change", [0x01, 0x80, 0xFF])
def test_every_damaged_byte_is_none(path: Path, change: int) -> None:
    """An entry with a wrong byte anywhere is no entry."""
    store = Cache(str(path))
    store.write("name", BODY)
    whole = (path / "name").read_bytes()
    found = []
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= change
        (path / "name").write_bytes(damaged)
        found.append(store.read("name"))
    assert found == [None] * len(whole)


@pytest.mark.parametrize("damage", [b"", b"\n", b"\0" * 4096, b"node-ipam-1 ", b"node-ipam-1\n", b"x" * 100])
def test_other_contents_are_none(path: Path, damage: bytes) -> None:
    """A file that was never an entry is no entry, and is replaced by the next one."""
    store = Cache(str(path))
    store.write("name", BODY)
    (path / "name").write_bytes(damage)
    assert store.read("name") is None
    assert store.write("name", BODY)
    assert store.read("name") == BODY


def test_addition_is_none(path: Path) -> None:
    """An entry with something after it is no entry."""
    store = Cache(str(path))
    store.write("name", BODY)
    with open(path / "name", "ab") as file:
        file.write(b"\0")
    assert store.read("name") is None


@pytest.mark.parametrize("kind", ["directory", "link", "link to nothing", "link to itself"])
def test_no_plain_file(path: Path, tmp_path: Path, kind: str) -> None:
    """Only a file of this very directory is read, and a link is replaced, not followed."""
    store = Cache(str(path))
    store.write("entry", BODY)
    name = path / "name"
    if kind == "directory":
        name.mkdir()
    else:
        name.symlink_to({"link": path / "entry", "link to nothing": tmp_path / "none"}.get(kind, name))

    assert store.read("name") is None
    assert store.write("name", b"new") == (kind != "directory")
    assert store.read("entry") == BODY
    assert not (tmp_path / "none").exists()


def refused(store: Cache, path: Path) -> bool:
    """Whether this directory is used for nothing, and why is said."""
    before = files(path)
    with store.lock("lock"):
        pass
    done = [store.write("name", BODY), store.link("link", "target"), store.read("entry") is not None]
    store.remove("entry")
    store.prune("entry", -1.0)
    kept = (store.target("entry-link"), list(store.names()), files(path))
    return (done, kept) == ([False] * 3, ("", [], before)) and str(path) in store.trouble


def entry_in(path: Path) -> None:
    """A directory with an entry and a link that would do if they could be trusted."""
    store = Cache(str(path))
    store.write("entry", BODY)
    store.link("entry-link", "target")


@pytest.mark.parametrize("mode", [0o755, 0o701, 0o710, 0o770, 0o777, 0o1777, 0o704, 0o720])
def test_directory_open_to_others(path: Path, mode: int) -> None:
    """A directory into which others may look is not used."""
    entry_in(path)
    path.chmod(mode)
    assert refused(Cache(str(path)), path)


@pytest.mark.parametrize("mode", [0o755, 0o701, 0o770, 0o777])
def test_own_directory_with_a_wrong_mode(path: Path, mode: int) -> None:
    """A directory with nothing but entries of a cache is closed to others, and used."""
    Cache(str(path)).write("used-1", BODY)
    path.chmod(mode)
    assert Cache(str(path)).read("used-1") == BODY
    assert path.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    "name",
    [
        *(prefix + "1" for prefix in (warm.PREFIX, memory.PREFIX, bytecode.PREFIX)),
        *("away-1", "used-1", "lock-1", "dead-1", "told:node", "status:1", "at:c1:eth0:k8snet", "stores", "kubelet"),
        *(launch.LOCK, ".at:c1:eth0.100:k8snet.4711", ".warm-1.4711"),
    ],
)
def test_own_names(path: Path, name: str) -> None:
    """A directory with each of the cache's own names is the cache's alone."""
    assert is_entry(name)
    path.mkdir(mode=0o755)
    (path / name).touch()
    assert Cache(str(path)).write("used-1", BODY)
    assert path.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    "name",
    [
        *("passwd", "kubelet.conf", "stores-1", "code", "..", ".warm-1", "warm", ".x.1", ""),
        *("node-key.pem", "node-exporter", "code-of-conduct", ".warm-up.1"),
    ],
)
def test_other_names(name: str) -> None:
    """A name that only resembles one of the cache's is another program's."""
    assert not is_entry(name)


@AS_ROOT
def test_entries_of_others_in_a_mended_directory(path: Path) -> None:
    """What another user has put there is not used."""
    store = Cache(str(path))
    store.write("used-1", BODY)
    store.link("at:c1:eth0", "used-1")
    for name in ("used-1", "at:c1:eth0"):
        os.chown(path / name, 1, -1, follow_symlinks=False)
    path.chmod(0o777)
    assert (Cache(str(path)).read("used-1"), Cache(str(path)).target("at:c1:eth0")) == (None, "")


def test_parents_are_made(path: Path) -> None:
    """Missing parents are made as host-local makes those of its dataDir, the directory itself for its owner alone."""
    deep = path / "a" / "b"
    assert Cache(str(deep)).write("used-1", BODY)
    assert [each.stat().st_mode & 0o777 for each in (path, path / "a", deep)] == [0o755, 0o755, 0o700]


@pytest.mark.parametrize("name", ["", "a/b"])
def test_directory_that_becomes_a_link(path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """The mode of a new directory is not set through a link that another user has put in its place meanwhile."""
    victim = path.parent / "victim"
    victim.touch(0o600)

    def replaced(place: str, mode: int) -> None:
        os.mkdir(place, mode)
        os.rename(place, f"{path.parent}/before")
        os.symlink(victim, place)

    path.parent.joinpath("before").mkdir()
    monkeypatch.setattr("posix.mkdir", replaced)
    assert not Cache(str(path / name)).write("used-1", BODY)
    assert path.is_symlink()
    assert victim.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_umask_of_the_process_stays(path: Path, umask: int) -> None:
    """Parents have their mode whatever the umask is, which the next plugin inherits unchanged."""
    previous = os.umask(umask)
    try:
        assert Cache(str(path / "a")).write("used-1", BODY)
    finally:
        found = os.umask(previous)
    assert (found, path.stat().st_mode & 0o777) == (umask, 0o755)


@pytest.mark.parametrize(
    "name", ["", "node-exporter", "node-key.pem", "warm-up.sh", "used-oil", "code-of-conduct", "lock-x"]
)
def test_directory_that_a_configuration_names(path: Path, name: str) -> None:
    """Without trust, a directory that is open to others is only taken for the cache's if there are entries in it."""
    path.mkdir(mode=0o755)
    if name:
        (path / name).touch()
    assert not Cache(str(path), trusted=False).write("used-1", BODY)
    assert Cache(str(path)).write("used-1", BODY) is not bool(name)
    path.chmod(0o755)
    assert Cache(str(path), trusted=False).write("used-1", BODY) is not bool(name)


def test_bytes_are_bounded(path: Path) -> None:
    """The oldest entries go when all have more bytes than they may."""
    store = Cache(str(path))
    for number in range(5):
        store.write(f"warm-{number}", b"x" * 1000)
        os.utime(path / f"warm-{number}", (number - 5 + time.time(),) * 2)
    store.prune("warm-", 100, 2500)
    assert files(path) == ["warm-3", "warm-4"]


@AS_ROOT
def test_directory_of_somebody_else(path: Path) -> None:
    """A directory that another user owns is not used."""
    entry_in(path)
    os.chown(path, 1, -1)
    assert refused(Cache(str(path)), path)


def test_directory_that_is_a_link(path: Path, tmp_path: Path) -> None:
    """A link in place of the directory is not followed, wherever it leads."""
    entry_in(tmp_path / "real")
    path.symlink_to(tmp_path / "real")
    assert refused(Cache(str(path)), path)


@pytest.mark.parametrize("place", ["file", "file/below", "n" * 300])
def test_directory_that_cannot_be(tmp_path: Path, place: str) -> None:
    """Where no directory can be made, nothing is kept and nothing is raised."""
    (tmp_path / "file").touch()
    where = tmp_path / place
    assert refused(Cache(str(where)), where)
    assert files(tmp_path) == ["file"]


def test_full_disk(path: Path) -> None:
    """Where nothing more can be written the old entry stays, and no half of the new one."""
    store = Cache(str(path))
    store.write("name", BODY)
    with file_size_limit(20):
        assert not store.write("name", BODY * 10)
        assert not store.write("other", BODY * 10)
    assert (store.read("name"), files(path)) == (BODY, ["name"])
    assert str(path) in store.trouble


def test_killed_while_writing(path: Path) -> None:
    """Killed at any moment, a writer leaves an old entry or a new one, whole."""
    bodies = [bytes([letter]) * 300_000 for letter in b"abc"]
    for round_ in range(8):
        step = "for letter in b'abc': store.write('name', bytes([letter]) * 300_000)"
        code = f"{step}\nprint('ready', flush=True)\nwhile True:\n    {step}"
        with other_process(code, path) as writer:
            assert writer.stdout
            writer.stdout.readline()
            time.sleep(0.003 * round_ + 0.002)
            writer.kill()
        assert Cache(str(path)).read("name") in bodies
    assert [name for name in files(path) if not name.startswith(".")] == ["name"]


def test_leftovers_are_pruned(path: Path) -> None:
    """What a killed writer left goes after a minute; what a living one is writing, and what is no writer's, stays."""
    store = Cache(str(path))
    store.write("warm-1", BODY)
    for name, age in ((".warm-1.11", 61), (".warm-1.12", 5), (".at:c1:eth0.13", 61), (".bashrc", 61)):
        (path / name).write_bytes(b"half")
        os.utime(path / name, (time.time() - age,) * 2)
    store.prune("warm-", 3600.0)
    assert files(path) == [".bashrc", ".warm-1.12", "warm-1"]


def test_prune(path: Path) -> None:
    """What has the prefix and is older goes, everything else stays."""
    store = Cache(str(path))
    for name, age in (("warm-old", 11), ("warm-new", 9), ("node-old", 11), ("warm", 11)):
        store.write(name, BODY)
        os.utime(path / name, (time.time() - age,) * 2)
    store.link("warm-link", "target")
    os.utime(path / "warm-link", (time.time() - 11,) * 2, follow_symlinks=False)
    store.prune("warm-", 10.0)
    assert files(path) == ["node-old", "warm", "warm-new"]


def test_names(path: Path) -> None:
    """Names come with their ages, links by their own."""
    store = Cache(str(path))
    store.write("file", BODY)
    store.link("link", "nowhere")
    os.utime(path / "file", (time.time() - 100,) * 2)
    found = dict(store.names())
    assert sorted(found) == ["file", "link"]
    assert found["link"] < 50 < found["file"]


def test_names_that_vanish(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What another process removes between the listing and the look is passed over."""
    store = Cache(str(path))
    store.write("file", BODY)
    monkeypatch.setattr(posix, "listdir", lambda _directory: ["gone", "file"])
    assert [name for name, _age in store.names()] == ["file"]


def test_prune_beside_another_process(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What another process removes meanwhile has no size, and the rest is pruned all the same."""
    store = Cache(str(path))
    store.write("warm-1", b"x" * 1000)
    monkeypatch.setattr(Cache, "names", lambda _store: [("warm-gone", 1.0), ("warm-1", 2.0)])
    store.prune("warm-", 10.0, 2000)
    assert files(path) == ["warm-1"]
    store.prune("warm-", 10.0, 500)
    assert files(path) == []


def _in_fips_mode(*_: object, **__: object) -> None:
    raise ValueError("blocked in FIPS mode")


@pytest.mark.parametrize("blake2", [{"blake2b": _in_fips_mode}, {}], ids=["FIPS mode", "missing"])
def test_name_of_without_blake2(monkeypatch: pytest.MonkeyPatch, blake2: dict[str, object]) -> None:
    """Where the usual hash is refused, names are as short, and each text has its own."""
    usual = entries.name_of(b"a")
    monkeypatch.setitem(sys.modules, "_blake2", types.SimpleNamespace(**blake2))
    names = [entries.name_of(data) for data in (b"a", b"b", b"a")]

    assert names[0] == names[2] != names[1]
    assert usual not in names and [len(name) for name in names] == [len(usual)] * 3


def test_link(path: Path) -> None:
    """A link remembers a name under another, can be changed, and is forgotten."""
    store = Cache(str(path))
    assert store.target("at:c1:eth0") == ""
    assert store.link("at:c1:eth0", "used-1")
    assert store.link("at:c1:eth0", "used-2")
    assert (store.target("at:c1:eth0"), files(path)) == ("used-2", ["at:c1:eth0"])
    store.remove("at:c1:eth0")
    store.remove("at:c1:eth0")
    assert (store.target("at:c1:eth0"), files(path)) == ("", [])


def test_parents_that_another_process_makes(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two first ADDs at once, each makes what the other has not made yet."""
    mkdir = posix.mkdir

    def made_twice(directory: str, mode: int) -> None:
        mkdir(directory, mode)
        mkdir(directory, mode)

    monkeypatch.setattr(posix, "mkdir", made_twice)
    store = Cache(str(path / "a/b/cache"))
    assert store.write("name", BODY), store.trouble


def test_place_where_nothing_can_be_made(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """/proc says that a directory is missing when one is to be made in it; it stays as it is."""

    def as_in_proc(directory: str, mode: int) -> None:
        is_new = directory == str(path / "cache")
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)) if is_new else FileExistsError

    path.mkdir(0o511)
    monkeypatch.setattr(posix, "mkdir", as_in_proc)
    store = Cache(str(path / "cache"))
    assert not store.write("name", BODY)
    assert str(path / "cache") in store.trouble
    assert path.stat().st_mode & 0o777 == 0o511


def test_text_that_no_link_can_have(path: Path) -> None:
    """What a server or an annotation says may hold anything: it is not stored, and nothing is raised."""
    store = Cache(str(path))
    assert [store.link("told:x", text) for text in ("a\0b", "half \ud800", "x" * 9000)] == [False] * 3
    assert str(path) in store.trouble
    assert files(path) == []


def test_target_of_a_file(path: Path) -> None:
    """A file under the name of a link remembers nothing."""
    store = Cache(str(path))
    store.write("name", BODY)
    assert store.target("name") == ""


def test_link_after_a_killed_process_of_the_same_pid(path: Path) -> None:
    """A half-made link that was left behind under our pid is no hindrance, as a half-written file is none."""
    store = Cache(str(path))
    assert store.write("name", BODY)
    (path / f".name.{os.getpid()}").write_bytes(b"half")
    assert store.write("name", BODY)
    os.symlink("old", path / f".link.{os.getpid()}")
    assert store.link("link", "new")


def test_concurrent_writers(path: Path) -> None:
    """While two processes write the same name, whoever reads gets the one's entry or the other's."""
    Cache(str(path)).write("name", b"a" * 50_000)
    writers = [
        other_process(f"for _ in range(400): store.write('name', {letter!r} * 50_000)", path) for letter in (b"a", b"b")
    ]
    seen = set()
    while any(writer.poll() is None for writer in writers):
        seen.add(Cache(str(path)).read("name"))
    for writer in writers:
        writer.communicate()
    assert seen <= {b"a" * 50_000, b"b" * 50_000}
    assert files(path) == ["name"]


HOLD = "with store.lock('lock'):\n    print('held', flush=True)\n    sys.stdin.read()"


def test_lock_keeps_other_processes_out(path: Path) -> None:
    """A lock is held against other processes until it is given back; the deadline ends the wait."""
    with other_process(HOLD, path) as holder:
        assert holder.stdout and holder.stdin
        holder.stdout.readline()
        with pytest.raises(deadline.DeadlineExceeded), deadline.within(0.1), Cache(str(path)).lock("lock"):
            pass
        with deadline.within(10), Cache(str(path)).lock("another"):
            pass
        holder.stdin.close()
        with deadline.within(10), Cache(str(path)).lock("lock"):
            pass


def test_lock_of_a_killed_process(path: Path) -> None:
    """A process that was killed holds nothing any more."""
    with other_process(HOLD, path) as holder:
        assert holder.stdout
        holder.stdout.readline()
        holder.send_signal(signal.SIGKILL)
        with deadline.within(10), Cache(str(path)).lock("lock"):
            pass


def test_lock_is_given_back_after_an_error(path: Path) -> None:
    """An error inside does not keep the lock."""
    with pytest.raises(KeyError), Cache(str(path)).lock("lock"):
        raise KeyError
    with deadline.within(10), Cache(str(path)).lock("lock"):
        pass


def test_lock_that_cannot_be_had(path: Path) -> None:
    """Where no lock can be made the work is done without, and why is said."""
    path.write_text("no directory")
    store = Cache(str(path))
    with store.lock("lock"):
        done = True
    assert done and str(path) in store.trouble


def test_lock_that_is_a_link(path: Path, tmp_path: Path) -> None:
    """A link in place of the lock's file is not followed."""
    entry_in(path)
    (path / "lock").symlink_to(tmp_path / "elsewhere")
    with Cache(str(path)).lock("lock"):
        pass
    assert not (tmp_path / "elsewhere").exists()


def test_first_trouble_is_kept(tmp_path: Path) -> None:
    """What went wrong first is what is said."""
    (tmp_path / "file").touch()
    store = Cache(str(tmp_path / "file"))
    store.write("name", BODY)
    first = store.trouble
    store.path = str(tmp_path / "other")
    store.link("name", "target")
    assert store.trouble == first != ""
