"""What the author of a NetworkAttachmentDefinition, who is not root, can make the built plugins do as root."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.dist import ARCHIVE
from tests.support.parts import host_local
from tests.support.runtime import Pod, run
from tests.support.world import World


def operate(world: World, command: str, config: dict[str, Any], bin_dir: str = "") -> Any:
    """Pipe a NetworkAttachmentDefinition with this configuration into an operator's command; what that prints."""
    definition = {
        "apiVersion": "k8s.cni.cncf.io/v1",
        "kind": "NetworkAttachmentDefinition",
        "metadata": {"name": "n", "namespace": "of-a-user"},
        "spec": {"config": json.dumps(config)},
    }
    options = ["--conf-dir", world.directory, "--bin-dir", bin_dir or host_local(), "-o", "json"]
    done = subprocess.run(
        [ARCHIVE, command, "-", *options],
        input=json.dumps(definition).encode(),
        env=world.runtime.environ,
        capture_output=True,
        check=False,
    )
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    "name", ["{}/evil", "../evil", "../../../../../../../../{}/evil", "sub/../../evil", "./sub/evil"]
)
def test_doctor_runs_plugins_only(world: World, tmp_path: Path, name: str) -> None:
    """A type is a name in the directory of plugins, not a path to a program."""
    (tmp_path / "bin/sub").mkdir(parents=True)
    for place in ("evil", "bin/sub/evil"):
        (tmp_path / place).write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
        (tmp_path / place).chmod(0o755)
    named = name.format(str(tmp_path) if name.startswith("{") else str(tmp_path)[1:])
    plugins = [{"type": named}, {"type": "bridge", "ipam": {"type": "kube-node"}}]
    config = {"cniVersion": "1.0.0", "name": "n", "plugins": plugins}
    checks = operate(world, "doctor", config, str(tmp_path / "bin"))["checks"]
    assert not (tmp_path / "ran").exists()
    (found,) = [each for each in checks if each["check"] == "plugins"]
    assert (found["finding"], found["what"]) == ("plugins-missing", f"{named} is not the name of a plugin")
    assert "ln -s" not in found["remedy"]


@pytest.mark.parametrize("kind", ["kube-node", "host-local"])
def test_store_in_place_of_a_pinned_file(world: World, kind: str) -> None:
    """A network named kube-node.json whose dataDir is that of another network does not stop that one."""
    if kind == "kube-node":
        world.annotate("example.com/a", "10.2.0.0/24")
        assert world.add(world.config("kube-node.json", annotation="example.com/a"), "other").status == 0
    else:
        ipam = {"type": kind, "dataDir": world.path("data"), "ranges": [[{"subnet": "10.2.0.0/24"}]]}
        other = {"cniVersion": "1.0.0", "name": "kube-node.json", "ipam": ipam}
        assert run(world.runtime.call("ADD", other, Pod("other"))).status == 0
    assert Path(world.path("data/kube-node.json/last_reserved_ip.0")).exists()

    config = world.config(version="1.1.0")
    for command in ("ADD", "CHECK", "STATUS", "DEL"):
        answer = world.runtime.run(command, config, None if command == "STATUS" else Pod("web-0"))
        assert answer.status == 0, (command, answer)
    (found,) = operate(world, "explain", {**config, "type": "bridge"})["networks"]
    assert found["from"]["ipam.ranges"].startswith("spec.podCIDRs of node")
    pinned = [each for each in operate(world, "doctor", config)["checks"] if each["check"] == "pinned"]
    assert [each["status"] for each in pinned] in ([], ["ok"])


def test_directory_in_place_of_the_configuration(world: World) -> None:
    """node-annotation.conf names what runs: a directory in its place is an error, not a missing file."""
    config = world.annotated("n", "example.com/a")
    world.runtime.environ["NODE_ANNOTATION_CFG"] = world.directory
    answer = world.add(config)
    assert (answer.status, answer.document()["msg"]) == (1, f"{world.directory} is a directory, not a file")


GO_LINE = '{"level":"info","ts":"2024-01-01T10:00:00.000Z","msg":"CNI ADD"}\n'
OLD_LINE = '{"ts": "2025-01-01T10:00:00.000Z", "level": "info", "msg": "ADD", "plugin": "kube-node"}\n'


def requests(world: World, **ipam: Any) -> str:
    """Run requests of a network whose log takes everything, with text for a shell in it; what is on stderr."""
    config = {**world.config("of-a-user", version="1.1.0", loglevel="trace", **ipam), "x": "$(touch ran)"}
    # STATUS has one second for the server, unless an ADD has just asked it.
    answers = [world.add(config, "user"), world.runtime.run("STATUS", config), world.delete(config, "user")]
    assert [each.status for each in answers] == [0, 0, 0], answers
    return "".join(each.stderr for each in answers)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("opt/start.sh", "#!/bin/sh\n"),
        ("opt/start.log", "exit 0\n"),
        ("opt/audit.log", '{"kind":"Event","apiVersion":"audit.k8s.io/v1"}\n'),
        ("opt/log", '[{"level": 1}]'),
        ("opt/log.conf", " "),
        ("opt/db.log", "\0" * 100),
        ("data/k8snet/11.0.1.9", "c1\r\neth0"),
        ("data/k8snet/11.0.1.9", ""),
        ("results/k8snet-c1-eth0", '{"kind":"cniCacheV1"}'),
        ("opt/xtables.lock", ""),
    ],
)
def test_log_in_a_file_of_something_else(world: World, name: str, content: str) -> None:
    """A logfile that is there and no log is left as it is: a shell or another program may read it."""
    path = Path(world.write(name, ""))
    path.write_bytes(content.encode())
    told = requests(world, logfile=str(path))
    assert path.read_bytes() == content.encode()
    assert told.count(f"log file {path} cannot be written: ") == 3


@pytest.mark.parametrize(
    "name",
    [
        *("data/kube-node.json", "data/k8snet/11.0.1.9", "data/k8snet/lock", "cache/code.lock"),
        *("run/reboot-required", "run/nologin", "opt/x.conf", "opt/x.sh", "home/.bash_login"),
    ],
)
def test_log_with_a_name_of_something_else(world: World, name: str) -> None:
    """A logfile is not made under a name that is not one of a log: other programs act on the file that is there."""
    path = Path(world.path(name))
    path.parent.mkdir(mode=0o700, parents=True)
    told = requests(world, logfile=str(path))
    if name != "cache/code.lock":  # which the plugin itself makes
        assert not path.exists()
    assert told.count(f"log file {path} cannot be written: its name is not that of a log") == 3
    assert world.add(world.config()).status == 0


def test_log_in_the_cache(world: World) -> None:
    """A logfile that is an entry of the cache leaves that as it is: the next pod is told the same."""
    assert world.add(world.config(), "a").status == world.delete(world.config(), "a").status == 0
    for entry in sorted(Path(world.cache).glob("node-*")):
        before = entry.read_bytes()
        requests(world, logfile=str(entry))
        assert entry.read_bytes() == before


@pytest.mark.parametrize("name", ["log", "kube-node.log", "log/kube-node.log.1", "kubelog", "logs.json"])
@pytest.mark.parametrize("content", [None, "", GO_LINE, OLD_LINE])
def test_log_in_a_log(world: World, name: str, content: str | None) -> None:
    """A new file, an empty one, and the logs of the Go plugin and of 0.1.0 are written to."""
    path = Path(world.write(name, content or ""))
    if content is None:
        path.unlink()
    assert requests(world, logfile=str(path)) == ""
    text = path.read_text()
    assert text.startswith(content or OLD_LINE[:7])
    assert {json.loads(line)["level"] for line in text.splitlines()} >= {"info", "trace"}


@pytest.mark.parametrize("name", ["log", "ranges.txt"])
def test_log_of_the_shell_version(world: World, name: str) -> None:
    """Root names the log of node-annotation, in a file of his own: the text of the shell version may be in it."""
    path = Path(world.write(name, "Ipam from annotation: [example.com/a]\n"))
    world.annotate("example.com/a", '"ranges": [[{"subnet": "10.2.0.0/24"}]]')
    answer = world.add(world.annotated("mynet", "example.com/a", log=str(path)))
    assert (answer.status, answer.stderr) == (0, "")
    assert path.read_text().startswith("Ipam from") and '"msg": "ADD"' in path.read_text()


@pytest.mark.parametrize("inside", [None, "node-exporter"])
@pytest.mark.parametrize("command", ["ADD", "explain", "doctor"])
def test_cache_in_a_directory_of_something_else(world: World, command: str, inside: str | None) -> None:
    """A directory that is there and open to others is not closed to them because a configuration names it."""
    path = Path(world.path("www"))
    path.mkdir(mode=0o755)
    if inside:
        (path / inside).touch()
    config = {**world.config(cacheDir=str(path)), "type": "bridge"}
    if command == "ADD":
        answer = world.add(config)
        assert answer.status == 0
        assert f"cache {path}: it must belong to the user who runs this, with mode 0700" in answer.stderr
    else:
        found = operate(world, command, config)
    assert path.stat().st_mode & 0o777 == 0o755
    assert [each.name for each in path.iterdir()] == ([inside] if inside else [])
    if command == "doctor":
        (cache,) = [each for each in found["checks"] if each["check"] == "cache"]
        assert (cache["finding"], f"chmod 700 {path}" in cache["remedy"]) == ("cache-unusable", True)


def test_cache_directory_of_root(world: World) -> None:
    """The same directory is closed, if it is empty, when root's own file names it."""
    path = Path(world.path("www"))
    path.mkdir(mode=0o755)
    world.annotate("example.com/a", '"ranges": [[{"subnet": "10.2.0.0/24"}]]')
    answer = world.add(world.annotated("mynet", "example.com/a", cacheDir=str(path)))
    assert (answer.status, answer.stderr) == (0, "")
    assert path.stat().st_mode & 0o777 == 0o700


def test_explain_writes_no_log(world: World) -> None:
    """explain tells what an ADD would do; the log is about what was done."""
    path = Path(world.path("log"))
    config = {**world.config(logfile=str(path), loglevel="verbose"), "type": "bridge"}
    operate(world, "explain", config)
    assert not path.exists()
