"""install and uninstall, by the built archive, as an operator runs them."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from plugin import __version__
from plugin.cache import is_entry
from plugin.ops.install import archive
from tests.support import noderoot, parts
from tests.support.apiserver import ApiServer
from tests.support.dist import ARCHIVE
from tests.support.runtime import Pod
from tests.support.world import World

PYTHONS = parts.pythons()
NAMES = sorted((archive.FILE, *archive.LINKS))
# More of them, for a longer test.
KILLS = int(os.environ.get("NODE_IPAM_KILLS", "8"))
INSTALLS = int(os.environ.get("NODE_IPAM_INSTALLS", "4"))
DRAIN = "drain the node, or use --force; release stale leases: node-ipam.pyz gc --yes"
OTHER = b"#!/bin/sh\necho another program\n"


def run(
    command: str, folder: Path, *arguments: str, program: str = ARCHIVE, user: int | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command about a directory of plugins."""
    argv = [program, command, "--bin-dir", str(folder), *arguments]
    return subprocess.run(argv, capture_output=True, text=True, user=user, check=False)


def install(folder: Path, *arguments: str, program: str = ARCHIVE) -> str:
    """Install; what that has printed. It has to work."""
    done = run("install", folder, *arguments, program=program)
    assert done.returncode == 0, done.stderr
    return done.stdout


def versions(path: Path) -> list[str]:
    """What a plugin answers to VERSION, called as a runtime calls it."""
    done = subprocess.run([path], env={"CNI_COMMAND": "VERSION"}, capture_output=True, check=True)
    found: list[str] = json.loads(done.stdout)["supportedVersions"]
    return found


def listing(folder: Path) -> list[str]:
    """What is in a directory."""
    return sorted(os.listdir(folder))


def altered(path: Path, change: Callable[[dict[str, bytes]], None]) -> str:
    """Another archive, with some of the files changed."""
    entries = archive.unpack(ARCHIVE)
    change(entries)
    archive.place(str(path), archive.pack(entries))
    return str(path)


def prefixed(name: str, code: bytes) -> Callable[[dict[str, bytes]], None]:
    """Let a module of the archive begin with other code; its lines keep their numbers."""
    future = b"from __future__ import annotations"

    def change(entries: dict[str, bytes]) -> None:
        before, found, after = entries[name].partition(future)
        assert found
        entries[name] = before + future + b"; " + code + after

    return change


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty directory for plugins."""
    path = tmp_path / "bin"
    path.mkdir()
    return path


@pytest.fixture(scope="session")
def newer(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An archive of another version, in which every module lies elsewhere."""
    path = tmp_path_factory.mktemp("newer") / archive.FILE
    return altered(path, prefixed("plugin/__main__.py", b'"""' + b"Another version. " * 50 + b'"""'))


def test_install(folder: Path) -> None:
    """One file and two relative links to it; both names answer, and nothing else is left in the directory."""
    printed = install(folder)

    assert listing(folder) == NAMES
    assert [os.readlink(folder / name) for name in archive.LINKS] == [archive.FILE, archive.FILE]
    assert (folder / archive.FILE).stat().st_mode & 0o7777 == 0o755
    assert [versions(folder / name)[-1] for name in archive.LINKS] == ["1.1.0", "1.1.0"]
    assert f"in {folder} for Python 3." in printed


def test_umask_does_not_matter(folder: Path) -> None:
    """The plugins can be run by everyone whatever the operator's umask is."""
    previous = os.umask(0o077)
    try:
        install(folder)
    finally:
        os.umask(previous)

    assert (folder / archive.FILE).stat().st_mode & 0o7777 == 0o755


def test_install_again(folder: Path) -> None:
    """A second install, by the installed file itself, finds the same bytes and changes nothing."""
    install(folder)
    before = (folder / archive.FILE).stat()

    printed = install(folder, program=str(folder / "kube-node"))

    after = (folder / archive.FILE).stat()
    assert printed.startswith("already installed: ")
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda folder: os.chmod(folder / archive.FILE, 0o644),
        lambda folder: os.truncate(folder / archive.FILE, 100000),
        lambda folder: os.unlink(folder / "kube-node"),
        lambda folder: os.replace(folder / archive.FILE, folder / "node-annotation"),
    ],
    ids=["mode", "half a file", "no link", "a copy in place of a link"],
)
def test_install_repairs(folder: Path, spoil: Callable[[Path], None]) -> None:
    """What is not as install leaves it is put right."""
    install(folder)
    spoil(folder)

    printed = install(folder)

    assert printed.startswith("installed ")
    assert [len(versions(folder / name)) for name in archive.LINKS] == [7, 7]
    assert os.readlink(folder / "kube-node") == archive.FILE


def test_install_over_another_version(folder: Path, newer: str) -> None:
    """An update replaces the file; the links are right already and stay."""
    install(folder)
    before = (folder / archive.FILE).read_bytes()
    links = [os.lstat(folder / name).st_ino for name in archive.LINKS]

    printed = install(folder, program=newer)

    assert printed.splitlines()[0].endswith(f": {archive.FILE}")
    assert (folder / archive.FILE).read_bytes() != before
    assert [os.lstat(folder / name).st_ino for name in archive.LINKS] == links


def test_other_programs_are_kept(folder: Path, newer: str) -> None:
    """What had one of the names before is kept, each of several once, and the first comes back with uninstall."""
    (folder / "kube-node").write_bytes(OTHER)
    (folder / archive.FILE).write_bytes(OTHER)
    os.symlink("/usr/lib/cni/node-annotation", folder / "node-annotation")

    printed = install(folder)
    for program in (newer, ARCHIVE):
        os.unlink(folder / "node-annotation")
        os.symlink("/usr/lib/cni/node-annotation", folder / "node-annotation")
        os.unlink(folder / "kube-node")
        (folder / "kube-node").write_bytes(b"yet another")
        install(folder, program=program)

    assert "kept what was there as node-ipam.pyz.bak, kube-node.bak, node-annotation.bak\n" in printed
    assert (folder / "kube-node.bak").read_bytes() == OTHER
    done = run("uninstall", folder)
    assert f"left {folder}/kube-node.bak.2, which came later\n" in done.stdout
    assert listing(folder) == sorted([*NAMES, "kube-node.bak.2"])
    assert (folder / "kube-node").read_bytes() == (folder / archive.FILE).read_bytes() == OTHER
    assert (folder / "kube-node.bak.2").read_bytes() == b"yet another"
    assert os.readlink(folder / "node-annotation") == "/usr/lib/cni/node-annotation"


def test_another_program_with_our_own_name(folder: Path) -> None:
    """uninstall does not take it for ours."""
    (folder / archive.FILE).write_bytes(OTHER)

    done = run("uninstall", folder)

    assert listing(folder) == [archive.FILE]
    assert f"left {folder}/{archive.FILE} alone" in done.stdout


@pytest.mark.parametrize("size", [0, 5000])
def test_half_a_file_is_ours(folder: Path, size: int) -> None:
    """What a copy that was interrupted has left is no other program; nor is a copy of ours."""
    install(folder)
    os.unlink(folder / "kube-node")
    shutil.copy(folder / archive.FILE, folder / "kube-node")
    os.truncate(folder / archive.FILE, size)

    install(folder)

    assert listing(folder) == NAMES


def test_a_pipe_in_the_way(folder: Path) -> None:
    """It is not waited for, but kept like another program."""
    os.mkfifo(folder / archive.FILE)

    install(folder)

    assert listing(folder) == sorted([*NAMES, f"{archive.FILE}.bak"])


def test_absolute_links(folder: Path, tmp_path: Path) -> None:
    """A link to the archive is ours however it is written, and by whatever way the directory is reached."""
    install(folder)
    os.symlink(folder, tmp_path / "way")
    for name in archive.LINKS:
        os.unlink(folder / name)
        os.symlink(tmp_path / "way" / archive.FILE, folder / name)

    printed = install(tmp_path / "way")
    done = run("uninstall", tmp_path / "way")

    assert printed.startswith("already installed: ")
    assert (done.returncode, listing(folder)) == (0, [])


def test_uninstall(folder: Path) -> None:
    """Nothing of ours is left, and a second time there is nothing to do."""
    install(folder)

    first, second = run("uninstall", folder), run("uninstall", folder)

    assert listing(folder) == []
    assert first.stdout.count("removed ") == 4  # with the cache, where install's check has left byte code
    assert not os.path.exists(os.environ["NODE_IPAM_CACHE"])
    assert (second.returncode, second.stdout) == (0, f"nothing of this program is in {folder}\n")


def test_uninstall_leaves_what_is_not_ours(folder: Path) -> None:
    """A program of the same name stays, and the operator is told."""
    install(folder)
    os.unlink(folder / "kube-node")
    (folder / "kube-node").write_bytes(OTHER)

    done = run("uninstall", folder)

    assert listing(folder) == ["kube-node"]
    assert f"left {folder}/kube-node alone" in done.stdout


@pytest.mark.parametrize("version", PYTHONS)
def test_released_bytes(folder: Path, version: str) -> None:
    """Whichever Python runs the installer, the file is the released one, as sha256sum tells."""
    subprocess.run([PYTHONS[version], ARCHIVE, "install", "--bin-dir", folder], capture_output=True, check=True)

    assert (folder / archive.FILE).read_bytes() == Path(ARCHIVE).read_bytes()


@pytest.mark.parametrize("version", PYTHONS)
def test_first_line_alone_is_another(folder: Path, version: str) -> None:
    """For another interpreter the files in it are the same, and the first line names that one."""
    install(folder, "--python", PYTHONS[version])

    assert _interpreter(folder) == PYTHONS[version]
    assert archive.unpack(str(folder / archive.FILE)) == archive.unpack(ARCHIVE)


@pytest.mark.parametrize("version", PYTHONS)
def test_first_pod_finds_byte_code(folder: Path, version: str, tmp_path: Path) -> None:
    """The test of the installed file leaves byte code of all that a request needs: later ones compile nothing."""
    install(folder, "--python", PYTHONS[version])
    cache = Path(os.environ["NODE_IPAM_CACHE"])
    before = [(path.name, path.stat().st_ino) for path in cache.iterdir()]
    with ApiServer() as server:
        world = World(str(tmp_path), server)
        world.runtime.directories[0] = str(folder)
        world.runtime.environ["NODE_IPAM_CACHE"] = str(cache)
        assert world.add(world.config(), "a").status == 0
        assert world.delete(world.config(), "a").status == 0

    assert len(before) == 1
    assert [(path.name, path.stat().st_ino) for path in cache.glob("code-*")] == before


def test_interpreter_in_the_first_line(folder: Path, tmp_path: Path) -> None:
    """The first line names the interpreter as it was given: a link stays a link."""
    link = tmp_path / "py"
    link.symlink_to(next(iter(PYTHONS.values())))

    printed = install(folder, "--python", str(link))

    assert _interpreter(folder) == str(link)
    assert f" at {link}: " in printed


@pytest.mark.parametrize("copies", [archive.LINKS, ()], ids=["as two files", "as one with links"])
def test_copied_not_installed(folder: Path, copies: tuple[str, ...]) -> None:
    """Without install, by copying, it works as well."""
    for name in copies or (archive.FILE,):
        shutil.copy(ARCHIVE, folder / name)
    for name in set(archive.LINKS) - set(copies):
        os.symlink(archive.FILE, folder / name)

    assert [versions(folder / name)[-1] for name in archive.LINKS] == ["1.1.0", "1.1.0"]


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("echo 2 7 18", r"is Python 2\.7\.18"),
        ("echo 3 8 20", r"is Python 3\.8\.20"),
        ("echo 3 11 2; echo ssl", r"lacks ssl \(install the whole of its standard library\)"),
        ("echo hello", r"does not behave like a Python \(exit status 0\)"),
        ("exit 127", r"does not behave like a Python \(exit status 127\)"),
    ],
)
def test_interpreter_that_will_not_do(folder: Path, tmp_path: Path, script: str, told: str) -> None:
    """It says what is wrong with the interpreter that was named, and installs nothing."""
    python = tmp_path / "python"
    archive.place(str(python), b"#!/bin/sh\n" + script.encode() + b"\n")

    done = run("install", folder, "--python", str(python))

    assert done.returncode == 1
    assert re.match(rf"error: no Python 3\.9 or later for the plugin\n{python} {told}\. Install one, ", done.stderr)
    assert listing(folder) == []


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("/nonexistent/python3", "/nonexistent/python3 is not there"),
        ("/etc/passwd", "/etc/passwd cannot be run: Permission denied"),
        ("python3", "is an absolute path without blanks, not 'python3'"),
        ("/usr/bin/env python3", "is an absolute path without blanks, not '/usr/bin/env python3'"),
    ],
)
def test_no_interpreter(folder: Path, path: str, told: str) -> None:
    """A path that cannot stand in a first line, or leads nowhere, is refused."""
    done = run("install", folder, "--python", path)

    assert done.returncode == 1
    assert told in done.stderr
    assert listing(folder) == []


@pytest.mark.skipif(bool(noderoot.why_not()), reason=noderoot.why_not() or "can")
def test_directory_mounted_noexec(folder: Path) -> None:
    """Where no program can be run the operator learns why, and nothing is installed."""
    done = _mounted(folder, "noexec")

    assert "/kube-node cannot be run: Permission denied\neverything is as it was; " in done.stderr
    assert "Is its file system mounted noexec?" in done.stderr
    assert (done.returncode, listing(folder)) == (1, [])


def test_no_directory(tmp_path: Path) -> None:
    """A directory that is not there is not made: nobody would look in it."""
    done = run("install", tmp_path / "bin")

    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {tmp_path}/bin is not a directory\n")
    assert listing(tmp_path) == []


def test_read_only_directory(folder: Path) -> None:
    """Where nothing can be written it says so, and what is there is as it was."""
    install(folder)
    before = (folder / archive.FILE).read_bytes()
    if os.geteuid() == 0:
        done = _mounted(folder, "ro")
    else:
        folder.chmod(0o555)
        done = run("install", folder)
        folder.chmod(0o755)

    assert done.returncode == 1
    assert re.match(rf"error: {folder} cannot be written: (Read-only file system|Permission denied)\n", done.stderr)
    assert listing(folder) == NAMES
    assert (folder / archive.FILE).read_bytes() == before


BROKEN = prefixed("plugin/verbs.py", b"raise ImportError")
BROKEN_LATER = prefixed("plugin/verbs.py", b"import sys; exec(\"if '.new' not in sys.argv[1]: raise ImportError\")")


NONSENSE = prefixed("plugin/verbs.py", b"import os; os.write(1, b'[]'); os._exit(0)")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (BROKEN, r"exit status 1 .*ImportError"),
        (BROKEN_LATER, r"exit status 1 .*ImportError"),
        (NONSENSE, r"exit status 0 \[\]"),
    ],
    ids=["at once", "in its place", "nonsense"],
)
@pytest.mark.parametrize("former", ["ours", "other"])
def test_broken_archive(
    folder: Path, tmp_path: Path, change: Callable[[dict[str, bytes]], None], told: str, former: str
) -> None:
    """An archive that does not answer VERSION, before or after it is in place, leaves everything as it was."""
    if former == "ours":
        install(folder)
    else:
        (folder / "kube-node").write_bytes(OTHER)
    before = {name: (folder / name).read_bytes() for name in listing(folder)}

    done = run("install", folder, program=altered(tmp_path / archive.FILE, change))

    assert done.returncode == 1
    assert re.search(rf"/kube-node does not answer CNI_COMMAND=VERSION: {told}", done.stderr)
    assert "everything is as it was\n" in done.stderr
    assert {name: (folder / name).read_bytes() for name in listing(folder)} == before


def test_killed_at_any_moment(folder: Path, newer: str) -> None:
    """Killed wherever it may be, kube-node answers; the next install removes what was left and works."""
    started = time.monotonic()
    install(folder)
    takes = time.monotonic() - started
    dice = random.Random(6)
    for number in range(KILLS):
        program = (newer, ARCHIVE)[number % 2]
        process = subprocess.Popen(
            [program, "install", "--bin-dir", folder],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        # The last part of it is where files are moved.
        time.sleep(takes * (1 - dice.random() ** 2))
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert versions(folder / "kube-node")[-1] == "1.1.0"

    install(folder)

    assert listing(folder) == NAMES


def test_left_overs_are_removed(folder: Path) -> None:
    """What a killed install has left goes, whatever it is."""
    left = folder / ".node-ipam.new" / "former"
    left.mkdir(parents=True)
    (left / "kube-node").write_bytes(OTHER)

    install(folder)

    assert listing(folder) == NAMES


def test_a_directory_in_the_way(folder: Path) -> None:
    """A directory of that name cannot be kept as NAME.bak: it is named, and nothing is changed."""
    (folder / "kube-node").mkdir()

    done = run("install", folder)

    assert (done.returncode, done.stderr) == (1, f"error: {folder}/kube-node: Is a directory\n")
    assert listing(folder) == ["kube-node"]


def test_something_in_the_way(folder: Path) -> None:
    """What is there under the name of the directory for preparing files is named, with how to be rid of it."""
    (folder / ".node-ipam.new").touch()

    done = run("install", folder)

    assert done.returncode == 1
    assert done.stderr == f"error: {folder}/.node-ipam.new is in the way\nremove it: rm -r {folder}/.node-ipam.new\n"


@pytest.mark.parametrize("command", ["install", "uninstall", "doctor"])
def test_no_directory_named(command: str, tmp_path: Path) -> None:
    """An empty name, as of a variable that is not set, is a mistake in usage; not the directory we are in."""
    argv = [ARCHIVE, command, "--bin-dir", ""]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert (done.returncode, listing(tmp_path)) == (2, [])
    assert done.stderr.endswith("error: argument --bin-dir: it is empty\n")


def test_many_installs_at_once(folder: Path, newer: str) -> None:
    """Two versions, each installed by two processes at a time: one of the two is there, whole."""
    whole = []
    for program in (ARCHIVE, newer):
        install(folder, program=program)
        whole.append((folder / archive.FILE).read_bytes())
    argv = ["install", "--bin-dir", str(folder)]

    processes = [
        subprocess.Popen([program, *argv], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for program in (ARCHIVE, newer) * 2
    ]

    assert [process.wait() for process in processes] == [0] * 4
    assert (folder / archive.FILE).read_bytes() in whole
    assert listing(folder) == NAMES


def test_pods_start_meanwhile(folder: Path, tmp_path: Path, newer: str) -> None:
    """While one version replaces the other again and again, each ADD gives a result, or asks to be tried again."""
    install(folder)
    over = threading.Event()
    troubles: list[object] = []
    counts = {"result": 0, "again": 0}
    with ApiServer() as server:
        world = World(str(tmp_path), server)
        world.runtime.directories[0] = str(folder)

        def work(worker: int) -> None:
            config = world.config(cacheSeconds=30 * worker)  # one asks the server each time, the other is quick
            for number in range(100000):
                answer = world.add(config, f"pod-{worker}-{number}")
                if answer.status and answer.document()["code"] != 11:
                    troubles.append(answer)
                counts["again" if answer.status else "result"] += 1
                if world.runtime.run("DEL", config, Pod(f"pod-{worker}-{number}")).status:
                    world.delete(config, f"pod-{worker}-{number}")
                if over.is_set():
                    return

        threads = [threading.Thread(target=work, args=(worker,)) for worker in (0, 1)]
        for thread in threads:
            thread.start()
        try:
            for number in range(INSTALLS):
                install(folder, program=(newer, ARCHIVE)[number % 2])
        finally:
            over.set()
            for thread in threads:
                thread.join()

    assert troubles == []
    assert counts["result"] > INSTALLS
    print(counts)


@pytest.mark.skipif(bool(noderoot.why_not()), reason=noderoot.why_not() or "can")
class TestRoot:
    """install --root, onto a directory that is another machine's root."""

    @pytest.fixture
    def node(self, tmp_path: Path) -> noderoot.NodeRoot:
        """A node whose /opt/cni/bin is an absolute link, which leads elsewhere when seen from outside."""
        made = noderoot.NodeRoot(str(tmp_path / "host"))
        made.make("var/lib/plugins")
        os.symlink("/var/lib/plugins", os.path.join(made.make("opt/cni"), "bin"))
        return made

    def test_install(self, node: noderoot.NodeRoot) -> None:
        """It is put there for the interpreter there, which finds it under the path that it has there."""
        done = node.run([ARCHIVE, "install", "--root", node.path], os.environ)

        folder = Path(node.path, "var/lib/plugins")
        assert (done.returncode, listing(folder)) == (0, NAMES), done.stderr
        assert _interpreter(folder) == noderoot.PYTHON
        assert (folder / archive.FILE).read_bytes() == archive.with_interpreter(
            Path(ARCHIVE).read_bytes(), noderoot.PYTHON
        )

    def test_uninstall(self, node: noderoot.NodeRoot) -> None:
        """And it is found again there."""
        node.run([ARCHIVE, "install", "--root", node.path], os.environ)

        done = node.run([ARCHIVE, "uninstall", "--root", node.path], os.environ)

        assert (done.returncode, listing(Path(node.path, "var/lib/plugins"))) == (0, []), done.stderr

    def test_uninstall_of_absolute_links(self, node: noderoot.NodeRoot) -> None:
        """They are absolute for that machine."""
        node.run([ARCHIVE, "install", "--root", node.path], os.environ)
        for name in archive.LINKS:
            os.unlink(os.path.join(node.path, "var/lib/plugins", name))
            os.symlink(f"/opt/cni/bin/{archive.FILE}", os.path.join(node.path, "var/lib/plugins", name))

        done = node.run([ARCHIVE, "uninstall", "--root", node.path], os.environ)

        assert (done.returncode, listing(Path(node.path, "var/lib/plugins"))) == (0, []), done.stderr

    @pytest.mark.parametrize(
        ("ipam", "store"),
        [
            ({"type": "kube-node"}, "var/lib/cni/networks/k8snet"),
            ({"type": "kube-node", "dataDir": "/data"}, "data/k8snet"),
            ({"type": "node-annotation", "annotation": "example.com/net1"}, "var/lib/cni/networks/k8snet"),
        ],
    )
    def test_uninstall_in_use(self, node: noderoot.NodeRoot, ipam: dict[str, str], store: str) -> None:
        """Leases there count, and not those of this machine; which of them are stale, only that machine can tell."""
        node.run([ARCHIVE, "install", "--root", node.path], os.environ)
        config = {"cniVersion": "1.0.0", "name": "k8snet", "type": "bridge", "ipam": ipam}
        Path(node.make("etc/cni/net.d"), "10-k8snet.conf").write_text(json.dumps(config))
        Path(node.make(store), "10.0.0.2").write_text("c1\r\neth0")

        done = node.run([ARCHIVE, "uninstall", "--root", node.path], os.environ)
        assert (done.returncode, listing(Path(node.path, "var/lib/plugins"))) == (1, NAMES)
        assert f"leases in {node.path}/{store}: 10.0.0.2 (c1)\n" in done.stderr
        assert done.stderr.endswith("\ndrain the node, or use --force\n")

        os.unlink(os.path.join(node.path, store, "10.0.0.2"))
        done = node.run([ARCHIVE, "uninstall", "--root", node.path], os.environ)
        assert (done.returncode, listing(Path(node.path, "var/lib/plugins"))) == (0, []), done.stderr

    def test_nothing_mounted_there(self, node: noderoot.NodeRoot) -> None:
        """/proc is not needed there."""
        node.mounts = [(source, target) for source, target in node.mounts if source != "/proc"]

        done = node.run([ARCHIVE, "install", "--root", node.path], os.environ)

        assert (done.returncode, listing(Path(node.path, "var/lib/plugins"))) == (0, NAMES), done.stderr

    def test_no_interpreter_there(self, tmp_path: Path) -> None:
        """This machine's own interpreter is of no use in a root that has none."""
        Path(tmp_path, "host/opt/cni/bin").mkdir(parents=True)

        done = run("install", Path("/opt/cni/bin"), "--root", str(tmp_path / "host"))

        assert done.returncode == 1
        assert done.stderr.startswith(
            f"error: no Python 3.9 or later for the plugin under {tmp_path}/host\nnone is there"
        )


def _interpreter(folder: Path) -> str:
    with open(folder / archive.FILE, "rb") as file:
        return file.readline().decode().removeprefix("#!").split()[0]


def _mounted(folder: Path, option: str) -> subprocess.CompletedProcess[str]:
    """Install where the directory is mounted so that something cannot be done in it, even by root."""
    script = f'mount --bind "$1" "$1" && mount -o remount,bind,{option} "$1" && shift && exec "$@"'
    argv = ["unshare", "--mount", "sh", "-c", script, "sh", str(folder), ARCHIVE, "install", "--bin-dir", str(folder)]
    return subprocess.run(argv, capture_output=True, text=True, check=False)


class TestUninstallInUse:
    """uninstall refuses to leave leases behind that no DEL could release."""

    def make(self, tmp_path: Path, **ipam: object) -> list[str]:
        """A network with two leases; the options that make uninstall look at it."""
        for name in ("conf", "data/k8snet"):
            (tmp_path / name).mkdir(parents=True)
        config = {"cniVersion": "1.0.0", "name": "k8snet", "type": "bridge"}
        keys = {"type": "kube-node", "dataDir": str(tmp_path / "data"), **ipam}
        (tmp_path / "conf/10-k8snet.conf").write_text(json.dumps({**config, "ipam": keys}))
        (tmp_path / "data/k8snet/10.0.0.2").write_text("c1\r\neth0")
        (tmp_path / "data/k8snet/10.0.0.3").write_text("c2\r\neth0")
        return ["--conf-dir", str(tmp_path / "conf")]

    def test_refused(self, folder: Path, tmp_path: Path) -> None:
        """Network and leases are named, nothing is removed, and a drained node lets it go, with its cache."""
        install(folder)
        options = self.make(tmp_path)
        cache = Path(os.environ["NODE_IPAM_CACHE"])
        cache.mkdir(mode=0o700, exist_ok=True)
        (cache / "node-1").touch()
        before = listing(folder)

        done = run("uninstall", folder, *options)

        assert (done.returncode, done.stdout, listing(folder)) == (1, "", before)
        for words in ("network k8snet", "10-k8snet.conf", "10.0.0.2 (c1), 10.0.0.3 (c2)", "--force"):
            assert words in done.stderr
        assert cache.exists()

        for lease in (tmp_path / "data/k8snet").iterdir():
            lease.unlink()
        done = run("uninstall", folder, *options)
        assert (done.returncode, listing(folder), cache.exists()) == (0, [], False), done.stderr
        assert f"removed {cache}\n" in done.stdout
        assert "10-k8snet.conf still uses this plugin" in done.stderr

    def test_a_network_of_multus(self, folder: Path, tmp_path: Path) -> None:
        """A pod on a network that no file in the directory of configurations defines counts as well."""
        with ApiServer() as server:
            world = World(str(tmp_path), server)
            world.runtime.directories.insert(0, str(folder))
            world.runtime.environ["NODE_IPAM_CACHE"] = os.environ["NODE_IPAM_CACHE"]
            install(folder)
            world.addresses(world.config("net1"))
            (tmp_path / "empty").mkdir()
            options = ["--conf-dir", str(tmp_path / "empty")]

            refused = run("uninstall", folder, *options)
            first, line, *remedy = refused.stderr.splitlines()
            assert (refused.returncode, first) == (
                1,
                "error: containers have addresses of this plugin; nothing was removed",
            )
            assert line.startswith("network net1 (in no CNI configuration): leases in ")
            assert remedy == [f"{DRAIN} --data-dir {tmp_path}/data"]

            for address in world.leases("net1"):  # as a reboot does; that the attachment is on record says nothing then
                os.unlink(tmp_path / "data/net1" / address)
            assert run("uninstall", folder, *options).returncode == 0

    def test_force(self, folder: Path, tmp_path: Path) -> None:
        """It goes, names the leases that stay, and leaves the cache: another copy's DELs need the records in it."""
        install(folder)
        cache = Path(os.environ["NODE_IPAM_CACHE"])
        cache.mkdir(mode=0o700, exist_ok=True)
        (cache / "node-1").touch()
        options = [*self.make(tmp_path, cacheDir=str(tmp_path / "never-made")), "--force"]

        done = run("uninstall", folder, *options)

        assert (done.returncode, listing(folder), (cache / "node-1").exists()) == (0, [], True)
        assert "not released: network k8snet" in done.stderr
        assert [line for line in done.stdout.splitlines() if line.startswith("left ")] == [
            f"left {cache}: it records where leases are, which DEL needs; on a tmpfs, a reboot removes it"
        ]

        shutil.rmtree(tmp_path / "data")
        assert f"removed {cache}\n" in run("uninstall", folder, *options).stdout
        assert not cache.exists()

    def test_other_types_and_no_leases(self, folder: Path, tmp_path: Path) -> None:
        """host-local's own networks are not ours, and need nothing of us."""
        install(folder)

        done = run("uninstall", folder, *self.make(tmp_path, type="host-local"))

        assert (done.returncode, done.stderr, listing(folder)) == (0, "", [])

    @pytest.mark.parametrize("strange", ["notes.txt", "node-key.pem"])
    @pytest.mark.parametrize("place", ["network", "node-annotation.conf"])
    def test_other_cache_directories(
        self, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, strange: str
    ) -> None:
        """A cacheDir is removed as /run/node-ipam is, and left if it has files of others."""
        install(folder)
        cache = tmp_path / "cache"
        cache.mkdir(mode=0o700)
        (cache / "node-1").touch()
        (cache / strange).touch()
        options = self.make(tmp_path, **({"cacheDir": str(cache)} if place == "network" else {}))
        (tmp_path / "nacfg").write_text(json.dumps({"cacheDir": str(cache)} if place != "network" else {}))
        monkeypatch.setenv("NODE_ANNOTATION_CFG", str(tmp_path / "nacfg"))
        shutil.rmtree(tmp_path / "data")

        done = run("uninstall", folder, *options)
        assert (done.returncode, cache.exists()) == (0, True)
        assert f"left {cache}: not this program's: {strange}\n" in done.stdout

        (cache / strange).unlink()
        done = run("uninstall", folder, *options)
        assert (done.returncode, cache.exists()) == (0, False), done.stderr
        assert f"removed {cache}\n" in done.stdout

    def test_cache_directory_that_was_never_used(self, folder: Path, tmp_path: Path) -> None:
        """One that the plugin has not made, or closed to others, may be something else: it is left."""
        install(folder)
        shared = tmp_path / "shared"
        shared.mkdir(mode=0o755)
        options = self.make(tmp_path, cacheDir=str(shared))
        shutil.rmtree(tmp_path / "data")

        done = run("uninstall", folder, *options)

        assert (done.returncode, shared.exists()) == (0, True)
        assert f"left {shared}: it is a link, another user's directory, or open to others\n" in done.stdout

    def test_files_of_others_in_the_cache(self, folder: Path) -> None:
        """A directory that somebody else uses as well is left, and that is said."""
        install(folder)
        cache = Path(os.environ["NODE_IPAM_CACHE"])
        cache.mkdir(mode=0o700, exist_ok=True)
        (cache / "notes.txt").touch()

        done = run("uninstall", folder)

        assert (done.returncode, (cache / "notes.txt").exists()) == (0, True)
        assert f"left {cache}: not this program's: notes.txt\n" in done.stdout

    def test_nothing_is_left_after_use(self, folder: Path, tmp_path: Path) -> None:
        """After a boot, pods that came and went, and STATUS, there is no cache, no byte code and no file of ours."""
        with ApiServer() as server:
            world = World(str(tmp_path), server)
            world.runtime.directories.insert(0, str(folder))
            world.runtime.environ["NODE_IPAM_CACHE"] = os.environ["NODE_IPAM_CACHE"]
            install(folder)
            cache = os.environ["NODE_IPAM_CACHE"]
            shutil.rmtree(cache, ignore_errors=True)  # it is in memory: a boot empties it
            config = world.config(logfile=str(tmp_path / "log"))
            world.addresses(config)
            assert world.runtime.run("STATUS", {**config, "cniVersion": "1.1.0"}).status == 0
            names = listing(Path(cache))
            assert all(map(is_entry, names)), names
            assert "code.lock" in names
            assert any(name.startswith("status:") for name in names)
            assert world.delete(config).status == 0

        assert run("uninstall", folder).returncode == 0

        assert (listing(folder), os.path.exists(os.environ["NODE_IPAM_CACHE"])) == ([], False)


class TestUpgradeAndRollBack:
    """README "Upgrade, roll back, remove", on a node with running pods."""

    def older(self, tmp_path: Path) -> str:
        """The archive of an earlier version."""
        entries = archive.unpack(ARCHIVE)
        source = entries["plugin/__init__.py"]
        entries["plugin/__init__.py"] = re.sub(rb'__version__ = "[^"]*"', b'__version__ = "0.0.1"', source)
        path = tmp_path / "older.pyz"
        archive.place(str(path), archive.pack(entries))
        return str(path)

    def test_the_first_version_recognizes_this_file(self) -> None:
        """install of 0.1.0 replaces a file with this name in its first 4096 bytes, and keeps no copy of it."""
        with open(ARCHIVE, "rb") as file:
            assert b"plugin/__init__.py" in file.read(4096)

    def test_there_and_back(self, folder: Path, tmp_path: Path) -> None:
        """Up, down and up again: pods keep their addresses, each file checks and deletes the pods of the other."""
        old = self.older(tmp_path)
        with ApiServer() as server:
            world = World(str(tmp_path), server)
            world.runtime.directories.insert(0, str(folder))
            config = world.config()
            given: dict[str, list[str]] = {}
            for number, program in enumerate((old, ARCHIVE, old, ARCHIVE)):
                install(folder, program=program)
                version = subprocess.check_output([folder / archive.FILE, "version"], text=True).split()[1]
                assert version == ("0.0.1" if program == old else __version__)
                for pod in given:
                    assert world.runtime.run("CHECK", config, Pod(pod)).status == 0
                given[f"pod-{number}"] = world.addresses(config, f"pod-{number}")
            assert len({address for addresses in given.values() for address in addresses}) == 8
            for pod in given:
                assert world.delete(config, pod).status == 0
            assert world.leases() == []
