"""deploy: what it prints is what Kubernetes takes, and what its pods run does what it should."""

from __future__ import annotations

import argparse
import base64
import functools
import io
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from plugin.errors import CniError
from plugin.ops.deploy import deploy, scripts
from plugin.ops.install import archive, install
from tests.support import noderoot, parts
from tests.support.dist import ARCHIVE

Manifest = dict[str, Any]

PYTHONS = parts.pythons()
KUBECTL = shutil.which("kubectl", path=os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]]))
APPLETS = ("cat", "chroot", "cmp", "cp", "mv", "sh", "sha256sum", "sleep")
MODES: tuple[tuple[str, ...], ...] = ((), ("--service-account",))


def run(*arguments: str, program: str = ARCHIVE) -> subprocess.CompletedProcess[str]:
    """Run the command."""
    return subprocess.run([program, "deploy", *arguments], capture_output=True, text=True, check=False)


@functools.lru_cache
def printed(*arguments: str) -> dict[str, Manifest]:
    """The objects it prints, by their kind. It has to work."""
    done = run(*arguments)
    assert (done.returncode, done.stderr) == (0, "")
    return {document["kind"]: document for document in yaml.safe_load_all(done.stdout)}


@pytest.fixture(scope="module", params=MODES, ids=["kubelet", "service account"])
def objects(request: pytest.FixtureRequest) -> dict[str, Manifest]:
    """What is printed with the kubelet's credentials in mind, and with an account of its own."""
    return printed(*request.param)


@pytest.fixture
def pod(objects: dict[str, Manifest]) -> Manifest:
    """The specification of the DaemonSet's pods."""
    spec: Manifest = objects["DaemonSet"]["spec"]["template"]["spec"]
    return spec


def containers(pod: Manifest) -> list[Manifest]:
    """All of its containers."""
    return [*pod["initContainers"], *pod["containers"]]


def packed(objects: dict[str, Manifest]) -> bytes:
    """The archive in the ConfigMap."""
    return base64.b64decode(objects["ConfigMap"]["binaryData"][archive.FILE], validate=True)


def holds(whole: Any, part: Any) -> bool:
    """Whether a value holds all of another; its objects may have more keys."""
    if isinstance(part, dict):
        return isinstance(whole, dict) and all(key in whole and holds(whole[key], part[key]) for key in part)
    if isinstance(part, list):
        return isinstance(whole, list) and len(whole) == len(part) and all(map(holds, whole, part))
    return bool(whole == part)


def kubectl(*arguments: str, stdin: object = None) -> Any:
    """The JSON that kubectl prints, out of reach of any server."""
    environ = {**os.environ, "KUBECONFIG": "/dev/null"}
    command = [str(KUBECTL), *arguments, "-o", "json"]
    text = json.dumps(stdin)
    return json.loads(
        subprocess.run(command, env=environ, input=text, capture_output=True, text=True, check=True).stdout
    )


def test_objects(objects: dict[str, Manifest]) -> None:
    """With the kubelet's credentials there is no RBAC; the ConfigMap comes before the pods that want it."""
    access = ["ServiceAccount", "ClusterRole", "ClusterRoleBinding"] if "ServiceAccount" in objects else []

    assert list(objects) == [*access, "ConfigMap", "DaemonSet"]
    assert {each["metadata"].get("namespace") for each in objects.values()} <= {"kube-system", None}


def test_same_text_each_time(tmp_path: Path) -> None:
    """Also when an installed file prints it."""
    subprocess.run([ARCHIVE, "install", "--bin-dir", tmp_path], capture_output=True, check=True)

    assert run(program=str(tmp_path / archive.FILE)).stdout == run().stdout


def test_archive_is_the_archive(objects: dict[str, Manifest]) -> None:
    """It holds the archive, byte for byte, compressed."""
    with zipfile.ZipFile(io.BytesIO(packed(objects))) as outer:
        assert outer.read(archive.FILE) == Path(ARCHIVE).read_bytes()
    assert len(packed(objects)) < 1 << 20


@pytest.mark.parametrize("version", PYTHONS)
def test_archive_runs(tmp_path: Path, version: str) -> None:
    """Any Python can run it as it is."""
    (tmp_path / archive.FILE).write_bytes(packed(printed()))
    argv = [PYTHONS[version], "-IS", str(tmp_path / archive.FILE), "version"]

    assert subprocess.run(argv, capture_output=True, check=True).stdout.startswith(b"node-ipam ")


def test_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a ConfigMap cannot hold is an error that says so."""
    monkeypatch.setattr(install, "own_archive", lambda: os.urandom(1 << 20))
    parser = argparse.ArgumentParser()
    deploy.add_arguments(parser)

    with pytest.raises(
        CniError, match=r"the program has 1,04\d,\d+ bytes when compressed; a ConfigMap takes 1,048,576"
    ):
        deploy.run(parser.parse_args([]))


def test_options() -> None:
    """What is chosen is found where it belongs."""
    found = printed(
        *("--namespace", "net", "--image", "registry.example/busybox:1", "--bin-dir", "/usr/lib/cni/"),
        *("--python", "/usr/bin/python3.12", "--service-account", "ranges", "--server", "https://[fd00::1]:6443"),
    )

    pod = found["DaemonSet"]["spec"]["template"]["spec"]
    environ = {each["name"]: each.get("value") for container in containers(pod) for each in container["env"]}
    assert {each["metadata"].get("namespace", "net") for each in found.values()} == {"net"}
    assert {each["image"] for each in containers(pod)} == {"registry.example/busybox:1"}
    assert pod["initContainers"][0]["command"][4:] == ["--bin-dir", "/srv", "--python", "/usr/bin/python3.12"]
    assert pod["initContainers"][0]["volumeMounts"][1] == {"name": "bin", "mountPath": "/host/srv"}
    assert pod["volumes"][1]["hostPath"]["path"] == environ["BIN_DIR"] == "/usr/lib/cni"
    assert environ["PYTHONS"] == "/usr/bin/python3.12"
    assert environ["SERVER"] == "https://[fd00::1]:6443"
    assert pod["serviceAccountName"] == found["ServiceAccount"]["metadata"]["name"] == "ranges"
    assert found["ClusterRoleBinding"]["subjects"] == [{"kind": "ServiceAccount", "name": "ranges", "namespace": "net"}]
    assert found["ClusterRoleBinding"]["roleRef"]["name"] == found["ClusterRole"]["metadata"]["name"] == "ranges"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--namespace", "Net"],
        ["--namespace", "a.b"],
        ["--namespace", "a" * 64],
        ["--image", ""],
        ["--bin-dir", "/"],
        ["--service-account", "a_b"],
        ["--bin-dir", "opt/cni/bin"],
        ["--bin-dir", "/opt/$(x)"],
        ["--python", "/usr/bin/env python3"],
        ["--server", "http://192.0.2.1", "--service-account"],
        ["--server", "https://192.0.2.1\nx", "--service-account"],
    ],
)
def test_wrong_options(arguments: list[str]) -> None:
    """What could not be, or would be something else in YAML or in a shell, is a mistake in usage."""
    done = run(*arguments)

    assert (done.returncode, done.stdout) == (2, "")
    assert "error: argument" in done.stderr


def test_server_without_account() -> None:
    """The kubelet's kubeconfig has a server; another cannot be given."""
    done = run("--server", "https://192.0.2.1:6443")

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: --server is for --service-account\n")


def test_account_may_get_nodes_and_nothing_else() -> None:
    """One rule with one verb, and a token that only this pod gets."""
    objects = printed("--service-account")

    pod = objects["DaemonSet"]["spec"]["template"]["spec"]
    assert objects["ClusterRole"]["rules"] == [{"apiGroups": [""], "resources": ["nodes"], "verbs": ["get"]}]
    assert objects["ServiceAccount"]["automountServiceAccountToken"] is False
    assert [volume["projected"]["sources"] for volume in pod["volumes"] if "projected" in volume] == [
        [
            {"serviceAccountToken": {"path": "token", "expirationSeconds": 3600}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        ]
    ]


def test_pod_starts_on_any_node(pod: Manifest) -> None:
    """Also where no network works yet, and whatever taints there are; with a priority that evicts others."""
    assert pod["hostNetwork"] is True
    assert pod["tolerations"] == [{"operator": "Exists"}]
    assert pod["priorityClassName"] == "system-node-critical"
    assert pod["automountServiceAccountToken"] is False


@pytest.mark.parametrize("path", ["/mnt", "/srv"])
def test_each_mount_has_a_place_of_its_own(path: str) -> None:
    """Wherever on the node the plugins are."""
    mounts = printed("--bin-dir", path)["DaemonSet"]["spec"]["template"]["spec"]["initContainers"][0]["volumeMounts"]

    assert len({mount["mountPath"] for mount in mounts}) == len(mounts) == 3


def test_pod_may_do_little(pod: Manifest) -> None:
    """No container is privileged, what it has of the node it cannot write but for the places meant."""
    mounts = [mount for container in containers(pod) for mount in container.get("volumeMounts", [])]
    writable = {mount["mountPath"] for mount in mounts if not mount.get("readOnly")}

    assert writable <= {"/host/srv", "/state"}
    for container in containers(pod):
        context = container["securityContext"]
        assert "privileged" not in context
        assert context["allowPrivilegeEscalation"] is False
        assert context["readOnlyRootFilesystem"] is True
        assert context["capabilities"]["drop"] == ["ALL"]
        assert set(context["capabilities"].get("add", [])) <= {"SYS_CHROOT", "DAC_OVERRIDE"}
        assert container["resources"].keys() == {"requests", "limits"}


def test_volumes(pod: Manifest) -> None:
    """Each volume is mounted, each mount has its volume."""
    mounted = {mount["name"] for container in containers(pod) for mount in container.get("volumeMounts", [])}

    assert mounted == {volume["name"] for volume in pod["volumes"]}


def test_scripts_are_left_alone_by_kubernetes(pod: Manifest) -> None:
    """It would replace $(NAME) and $$ in a command."""
    for container in containers(pod):
        assert not re.search(r"\$[($]", " ".join(container["command"]))


@pytest.mark.parametrize("script", [scripts.INSTALL, scripts.IDLE, scripts.REFRESH])
def test_scripts_are_posix(script: str) -> None:
    """A shell takes them for a program."""
    subprocess.run(["sh", "-n"], input=script, text=True, check=True)


@pytest.mark.skipif(not KUBECTL, reason="needs kubectl")
class TestKubectl:
    """kubectl reads the objects into the types of the Kubernetes API: a field that it does not know would be lost."""

    def test_daemon_set(self, objects: dict[str, Manifest]) -> None:
        """Every field of it is one of apps/v1, and has the type that it has there."""
        ours = objects["DaemonSet"]

        read = kubectl("set", "serviceaccount", "--local", "-f", "-", "other", stdin=ours)

        read["spec"]["template"]["spec"]["serviceAccountName"] = ours["spec"]["template"]["spec"].get(
            "serviceAccountName"
        )
        assert holds(read, ours)

    def test_unknown_field_is_noticed(self, objects: dict[str, Manifest]) -> None:
        """The test above can fail."""
        ours = json.loads(json.dumps(objects["DaemonSet"]))
        ours["spec"]["template"]["spec"]["hostNetworks"] = True

        assert not holds(kubectl("set", "serviceaccount", "--local", "-f", "-", "node-ipam", stdin=ours), ours)

    def test_config_map(self, objects: dict[str, Manifest], tmp_path: Path) -> None:
        """It is the one that kubectl would make of the file."""
        (tmp_path / archive.FILE).write_bytes(packed(objects))
        made = kubectl("create", "configmap", "node-ipam", f"--from-file={tmp_path / archive.FILE}", "--dry-run=client")

        assert made["binaryData"] == objects["ConfigMap"]["binaryData"]
        assert (made["apiVersion"], made["kind"]) == ("v1", "ConfigMap")

    def test_binding(self) -> None:
        """Every field of the ClusterRoleBinding is one of rbac.authorization.k8s.io/v1."""
        ours = printed("--service-account")["ClusterRoleBinding"]

        read = kubectl("set", "subject", "--local", "-f", "-", "--user=someone", stdin=ours)

        assert read["subjects"].pop() == {"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "someone"}
        assert holds(read, ours)


@pytest.mark.skipif(bool(noderoot.why_not()), reason=noderoot.why_not() or "can")
class TestPod:
    """The init container, run as Kubernetes would run it: BusyBox and a node's root are all it sees."""

    @pytest.fixture
    def image(self, tmp_path: Path) -> Path:
        """A container's root with a shell and the programs it needs."""
        root = tmp_path / "container"
        (root / "bin").mkdir(parents=True)
        (root / "dev").mkdir()
        shutil.copy(str(shutil.which("busybox")), root / "bin/busybox")
        for applet in APPLETS:
            (root / "bin" / applet).symlink_to("busybox")
        return root

    @pytest.fixture
    def node(self, image: Path) -> noderoot.NodeRoot:
        """The node, as the container has it under /host."""
        node = noderoot.NodeRoot(str(image / "host"))
        node.make("var/data/cni/bin")
        os.symlink("/var/data/cni", os.path.join(node.make("opt"), "cni"))  # as it is seen there
        node.make("mnt")
        node.make("srv")
        return node

    def install(self, image: Path, node: noderoot.NodeRoot, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run the init container."""
        objects = printed()
        config = image.parent / "config"
        config.mkdir()
        (config / archive.FILE).write_bytes(packed(objects))
        container = objects["DaemonSet"]["spec"]["template"]["spec"]["initContainers"][0]
        variables = {each["name"]: each["value"] for each in container["env"]}
        mounts = [
            (str(config), str(image / "host/mnt")),
            (str(image / "host/var/data/cni/bin"), str(image / "host/srv")),
            ("/dev", str(image / "dev")),
        ]
        argv = ["/usr/sbin/chroot", str(image), *container["command"]]
        return node.run(argv, {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **variables, **environ}, mounts)

    def test_install(self, image: Path, node: noderoot.NodeRoot) -> None:
        """The plugins are on the node, for the node's interpreter, and they answer; nothing else is written there."""
        before = sorted(path for path, _, _ in os.walk(image / "host"))

        done = self.install(image, node)

        folder = image / "host/var/data/cni/bin"
        assert done.returncode == 0, done.stderr
        first, second, *_ = done.stdout.splitlines()
        assert first == "/opt/cni/bin of the node is /srv in here"
        assert second.startswith("installed ")
        assert sorted(os.listdir(folder)) == ["kube-node", "node-annotation", "node-ipam.pyz"]
        assert (folder / archive.FILE).read_bytes().startswith(b"#!/usr/bin/python3 -IS")
        subprocess.run([folder / "kube-node"], env={"CNI_COMMAND": "VERSION"}, capture_output=True, check=True)
        cache = str(image / "host/run")  # of byte code; in the pod, the node's root is mounted read-only
        assert [path for path, _, _ in sorted(os.walk(image / "host")) if not path.startswith(cache)] == before
        assert os.listdir(image / "host/mnt") == os.listdir(image / "host/srv") == []

    @pytest.mark.parametrize(
        ("environ", "told"),
        [
            ({"ARCHIVE_SHA256": "0" * 64}, "error: the ConfigMap on this node is not the one"),
            (
                {"PYTHONS": "/usr/bin/python3.4 /bin/true.x"},
                "error: this node has no Python 3.9 or later; tried /usr/bin",
            ),
        ],
    )
    def test_install_fails(self, image: Path, node: noderoot.NodeRoot, environ: dict[str, str], told: str) -> None:
        """With another version's archive, or without an interpreter, it says so and the pod does not start."""
        done = self.install(image, node, **environ)

        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith(told)
        assert os.listdir(image / "host/var/data/cni/bin") == []

    def test_why_no_python_can_be_run(self, image: Path, node: noderoot.NodeRoot) -> None:
        """A container that may not enter the node's root says so, not only that there is no Python."""
        done = self.install(image, node, PYTHONS="/usr/bin/python3.4")

        assert done.stderr.splitlines()[1:] == ["chroot: can't execute '/usr/bin/python3.4': No such file or directory"]


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("busybox"), reason="needs root and busybox")
class TestCredentials:
    """The container that keeps a ServiceAccount's credentials on the node."""

    @pytest.fixture
    def root(self, tmp_path: Path) -> Path:
        """The container's root with what is mounted there."""
        for name in ("bin", "credentials", "state"):
            (tmp_path / name).mkdir()
        shutil.copy(str(shutil.which("busybox")), tmp_path / "bin/busybox")
        for applet in APPLETS:
            (tmp_path / "bin" / applet).symlink_to("busybox")
        (tmp_path / "dev").mkdir()
        os.mknod(tmp_path / "dev/null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        (tmp_path / "credentials/token").write_text("first")
        (tmp_path / "credentials/ca.crt").write_text("authority")
        return tmp_path

    def start(self, root: Path, **environ: str) -> subprocess.Popen[str]:
        """Start it, and let it look ten times a second."""
        objects = printed("--service-account")
        (container,) = objects["DaemonSet"]["spec"]["template"]["spec"]["containers"]
        command = [word.replace("sleep 10 ", "sleep 0.1 ") for word in container["command"]]
        assert command != container["command"]
        variables = {each["name"]: each.get("value", "node-ipam-x7k2p") for each in container["env"]}
        service = {"KUBERNETES_SERVICE_HOST": "10.96.0.1", "KUBERNETES_SERVICE_PORT": "443"}
        argv = ["/usr/sbin/chroot", str(root), *command]
        return subprocess.Popen(
            argv, env={"PATH": "/bin", **variables, **service, **environ}, text=True, stderr=subprocess.PIPE
        )

    @pytest.fixture
    def running(self, root: Path) -> Iterator[subprocess.Popen[str]]:
        """It runs, and has written everything once."""
        process = self.start(root)
        wait_for(root / "state/kubeconfig")
        yield process
        process.terminate()
        _, told = process.communicate(timeout=10)
        assert (process.returncode, told) == (0, "")

    def test_files(self, root: Path, running: subprocess.Popen[str]) -> None:
        """Token, CA and kubeconfig are there, for root alone."""
        found = {path.name: path.stat().st_mode & 0o777 for path in (root / "state").iterdir()}

        assert found == {"token": 0o600, "ca.crt": 0o600, "kubeconfig": 0o600, "owner": 0o600}
        assert running.poll() is None

    def test_kubeconfig(self, root: Path, running: subprocess.Popen[str]) -> None:
        """It names the files as the node has them, and the cluster's own address of the API server."""
        config = yaml.safe_load((root / "state/kubeconfig").read_text())

        assert config["clusters"][0]["cluster"] == {
            "server": "https://10.96.0.1:443",
            "certificate-authority": "/var/lib/node-ipam/ca.crt",
        }
        assert config["users"] == [{"name": "node-ipam", "user": {"tokenFile": "/var/lib/node-ipam/token"}}]
        assert config["contexts"][0]["name"] == config["current-context"]
        assert running.poll() is None

    def test_new_token(self, root: Path, running: subprocess.Popen[str]) -> None:
        """A renewed token is written as a new file in place of the old one, which is never half there."""
        before = (root / "state/token").stat().st_ino

        (root / "credentials/token").write_text("second")
        wait_for(root / "state/token", "second")

        assert (root / "state/token").stat().st_ino != before
        assert sorted(os.listdir(root / "state")) == ["ca.crt", "kubeconfig", "owner", "token"]
        assert running.poll() is None

    def test_another_pod_has_written(self, root: Path, running: subprocess.Popen[str]) -> None:
        """The token of a pod that is gone by now does not stay."""
        (root / "state/token").write_text("of the former pod")

        wait_for(root / "state/token", "first")

        assert running.poll() is None

    def test_a_later_pod(self, root: Path, running: subprocess.Popen[str]) -> None:
        """Its token is not replaced by that of a pod that is about to go; but when it goes first itself, it is."""
        (root / "state/owner").write_text("node-ipam-later\n")
        (root / "state/token").write_text("of the later pod")
        (root / "credentials/token").write_text("second")
        time.sleep(0.5)
        assert (root / "state/token").read_text() == "of the later pod"

        (root / "state/owner").write_text("")
        wait_for(root / "state/token", "second")

        assert (root / "state/owner").read_text() == "node-ipam-x7k2p\n"
        assert running.poll() is None

    def test_two_pods(self, root: Path, running: subprocess.Popen[str]) -> None:
        """The one that started last has its say until it goes; then the other one has."""
        later = self.start(root, POD="node-ipam-later")
        wait_for(root / "state/owner", "later")
        later.terminate()
        _, told = later.communicate(timeout=10)

        assert (later.returncode, told) == (0, "")
        wait_for(root / "state/owner", "x7k2p")
        assert running.poll() is None

    def test_the_former_pod_goes(self, root: Path) -> None:
        """The later one stays the one that has its say."""
        former = self.start(root)
        wait_for(root / "state/kubeconfig")
        (root / "state/owner").write_text("node-ipam-later\n")
        former.terminate()
        former.communicate(timeout=10)

        assert (root / "state/owner").read_text() == "node-ipam-later\n"

    @pytest.mark.parametrize(
        ("environ", "server"),
        [
            ({"KUBERNETES_SERVICE_HOST": "fd00:10:96::1"}, "https://[fd00:10:96::1]:443"),
            ({"SERVER": "https://api.example:6443"}, "https://api.example:6443"),
        ],
    )
    def test_server(self, root: Path, environ: dict[str, str], server: str) -> None:
        """An IPv6 address stands in brackets; --server goes before what the pod is told."""
        process = self.start(root, **environ)
        wait_for(root / "state/kubeconfig")
        process.terminate()
        process.communicate(timeout=10)

        config = yaml.safe_load((root / "state/kubeconfig").read_text())
        assert config["clusters"][0]["cluster"]["server"] == server

    def test_no_token(self, root: Path) -> None:
        """Without a token the container ends, so that it is seen."""
        (root / "credentials/token").unlink()
        process = self.start(root)

        _, told = process.communicate(timeout=10)

        assert process.returncode != 0
        assert "/credentials/token" in told


def wait_for(path: Path, text: str = "") -> None:
    """Wait until a file is there, with this in it."""
    ends = time.monotonic() + 20
    while time.monotonic() < ends:
        if path.exists() and text in path.read_text():
            return
        time.sleep(0.02)
    raise AssertionError(f"{path} did not come")
