"""deploy --assign: the Deployment that Kubernetes takes, and its command as it runs there."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from plugin.ops.install import archive
from tests.ops.deploy.test_deploy import KUBECTL, holds, kubectl, run
from tests.support import noderoot
from tests.support.apiserver import ApiServer, User, make_node

Manifest = dict[str, Any]

NET1 = "kube-node.nordix.org/net1"
ASSIGN = ("--assign", f"{NET1}=172.20.0.0/16,fd00:20::/80", "--node-cidr-mask-size-ipv6", "96")
PATH = "/usr/bin:/bin:/usr/sbin"
ACCOUNT = "system:serviceaccount:kube-system:node-ipam-ranges"


def printed(*arguments: str) -> list[Manifest]:
    """All objects that it prints."""
    done = run(*arguments)
    assert (done.returncode, done.stderr) == (0, "")
    return list(yaml.safe_load_all(done.stdout))


def only(kind: str, objects: list[Manifest]) -> Manifest:
    """The object of this kind."""
    (found,) = [each for each in objects if each["kind"] == kind]
    return found


@pytest.fixture(scope="module")
def objects() -> list[Manifest]:
    """For one network."""
    return printed(*ASSIGN)


@pytest.fixture
def pod(objects: list[Manifest]) -> Manifest:
    """The specification of the Deployment's pods."""
    spec: Manifest = only("Deployment", objects)["spec"]["template"]["spec"]
    return spec


def test_objects(objects: list[Manifest]) -> None:
    """Beside what deploy prints in any case; what others need comes first."""
    assert objects[:2] == printed()
    assert [each["kind"] for each in objects[2:]] == [
        *("ServiceAccount", "ClusterRole", "Role", "ClusterRoleBinding", "RoleBinding", "Lease", "Deployment")
    ]
    assert {each["metadata"]["name"] for each in objects[2:]} == {"node-ipam-ranges"}


def test_account(objects: list[Manifest]) -> None:
    """Nodes, and the one Lease; nothing else, and not to create one."""
    assert only("ClusterRole", objects)["rules"] == [
        {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list", "watch", "patch"]}
    ]
    assert only("Role", objects)["rules"] == [
        {
            "apiGroups": ["coordination.k8s.io"],
            "resources": ["leases"],
            "resourceNames": ["node-ipam-ranges"],
            "verbs": ["get", "update"],
        }
    ]
    assert only("Role", objects)["metadata"] == only("Lease", objects)["metadata"]


def test_pod_may_do_little(pod: Manifest) -> None:
    """Not root, a root that is read-only, nothing of the host."""
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == 65534
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
    assert [volume.keys() - {"name"} for volume in pod["volumes"]] == [{"configMap"}, {"emptyDir"}]
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
    assert container["resources"].keys() == {"requests", "limits"}


def test_options() -> None:
    """What is chosen is found where it belongs."""
    found = printed(
        *("--namespace", "net", *ASSIGN, "--assign", "example.com/b=10.9.0.0/16", "--python-image", "registry/py:3"),
        *("--exclude", "172.20.0.0/24", "--selector", "zone in (a,b)", "--service-cluster-ip-range", "10.96.0.0/12"),
    )

    (container,) = only("Deployment", found)["spec"]["template"]["spec"]["containers"]
    command = container["command"]
    assert container["image"] == "registry/py:3"
    assert command[:5] == ["python3", "-IS", "/archive/node-ipam.pyz", "ranges", "assign"]
    pairs = list(zip(command, command[1:]))
    assert [value for option, value in pairs if option == "--annotation"] == [NET1, "example.com/b"]
    assert [value for option, value in pairs if option == "--cluster-cidr"] == [
        "172.20.0.0/16,fd00:20::/80",
        "10.9.0.0/16",
    ]
    for pair in (
        ("--exclude", "172.20.0.0/24"),
        ("--selector", "zone in (a,b)"),
        ("--service-cluster-ip-range", "10.96.0.0/12"),
        ("--node-cidr-mask-size-ipv4", "24"),
        ("--node-cidr-mask-size-ipv6", "96"),
    ):
        assert pair in pairs
    assert only("Deployment", found)["metadata"]["namespace"] == "net"
    assert only("RoleBinding", found)["metadata"]["namespace"] == only("Lease", found)["metadata"]["namespace"]
    assert only("RoleBinding", found)["subjects"][0]["namespace"] == "net"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--assign", "172.20.0.0/16"), "is not like kube-node.nordix.org/net1=172.20.0.0/16"),
        (("--assign", "a b=172.20.0.0/16"), "is not the name of an annotation"),
        (("--assign", "a=172.20.0.1/16"), "has host bits set"),
        (("--assign", "a=172.20.0.0/16", "--assign", "a=172.21.0.0/16"), "--annotation a is given twice"),
        ((*ASSIGN, "--exclude", "x"), "--exclude: 'x' does not appear"),
        ((*ASSIGN, "--selector", "a b"), "is not a label selector"),
    ],
)
def test_wrong_options(arguments: tuple[str, ...], message: str) -> None:
    """What `ranges assign` would refuse in the cluster is refused here."""
    done = run(*arguments)
    assert (done.returncode in (1, 2), done.stdout, message in done.stderr) == (True, "", True)


@pytest.mark.skipif(not KUBECTL, reason="needs kubectl")
class TestKubectl:
    """kubectl reads the objects into the types of the Kubernetes API: a field that it does not know would be lost."""

    def test_deployment(self, objects: list[Manifest]) -> None:
        """Every field of it is one of apps/v1."""
        ours = only("Deployment", objects)
        read = kubectl("set", "serviceaccount", "--local", "-f", "-", "other", stdin=ours)
        read["spec"]["template"]["spec"]["serviceAccountName"] = "node-ipam-ranges"
        assert holds(read, ours)

    @pytest.mark.parametrize("kind", ["RoleBinding", "ClusterRoleBinding"])
    def test_bindings(self, objects: list[Manifest], kind: str) -> None:
        """Every field of them is one of rbac.authorization.k8s.io/v1."""
        ours = only(kind, objects)
        read = kubectl("set", "subject", "--local", "-f", "-", "--user=someone", stdin=ours)
        read["subjects"].pop()
        assert holds(read, ours)


@pytest.mark.skipif(bool(noderoot.why_not()), reason=noderoot.why_not() or "can")
class TestPod:
    """The container's command as its user, with nothing to write to but the volume for its state."""

    @pytest.fixture
    def server(self, objects: list[Manifest]) -> Iterator[ApiServer]:
        """It permits what the printed roles permit, and has the printed Lease."""
        (nodes,) = only("ClusterRole", objects)["rules"]
        (leases,) = only("Role", objects)["rules"]

        def rule(user: User, verb: str, name: str) -> str:
            return "" if user.name == ACCOUNT and verb in nodes["verbs"] else f"cannot {verb} nodes {name}"

        def other(user: User, verb: str, resource: str, name: str) -> str:
            is_ours = resource == "leases" and name in leases["resourceNames"] and verb in leases["verbs"]
            return "" if user.name == ACCOUNT and is_ours else f"cannot {verb} {resource} {name}"

        with ApiServer(rule=rule) as running:
            running.other_rule = other
            running.service_cidrs = ["10.96.0.0/12"]
            lease = only("Lease", objects)
            lease["metadata"]["resourceVersion"] = "1"
            running.leases["kube-system/node-ipam-ranges"] = lease
            yield running

    @pytest.fixture
    def root(self, objects: list[Manifest], server: ApiServer, tmp_path: Path) -> noderoot.NodeRoot:
        """An image's root with Python, and the volumes."""
        root = noderoot.NodeRoot(str(tmp_path / "root"))
        data = only("ConfigMap", objects)["binaryData"][archive.FILE]
        Path(root.make("archive"), archive.FILE).write_bytes(base64.b64decode(data))
        account = Path(root.make("var/run/secrets/kubernetes.io/serviceaccount"))
        (account / "token").write_text(server.token(ACCOUNT))
        (account / "ca.crt").write_bytes(server.authority.ca_pem)
        root.make("etc")
        root.make("state")
        state = tmp_path / "state"
        state.mkdir()
        os.chown(state, 65534, 65534)
        root.mount(str(state), "state")
        return root

    def command(self, root: noderoot.NodeRoot, argv: list[str]) -> list[str]:
        """As the user 65534, without any capability, the root mounted read-only."""
        script = 'mount --rbind "$1" "$1"; mount -o remount,bind,ro "$1"; exec chroot "$@"'
        user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs", "--bounding-set=-all"]
        return root.command(["sh", "-ec", script, "sh", root.path, *user, "--inh-caps=-all", *argv])

    def test_runs(self, pod: Manifest, root: noderoot.NodeRoot, server: ApiServer) -> None:
        """Nodes get their blocks, the probes succeed, SIGTERM ends it, and nothing else has been written."""
        (container,) = pod["containers"]
        environ = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(server.port)}
        environ["PATH"] = PATH
        probes = [container[kind]["exec"]["command"] for kind in ("readinessProbe", "livenessProbe")]

        def probe() -> list[int]:
            """Exit statuses."""
            commands = [self.command(root, each) for each in probes]
            return [subprocess.run(each, env=environ, capture_output=True, check=False).returncode for each in commands]

        assert 0 not in probe()
        server.add(make_node("a", ()))
        command = self.command(root, container["command"])
        with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            assert process.stdout
            found = []
            for line in process.stdout:
                found.append(json.loads(line))
                if found[-1]["event"] == "assigned" and found[-1]["node"] == "a":
                    server.add(make_node("b", ()))
                elif found[-1]["event"] == "assigned":
                    break
            assert probe() == [0, 0]
            assert [line.split()[1:2] for line in status(process.pid) if line.startswith(("Uid", "CapEff"))] == [
                ["65534"],
                ["0000000000000000"],
            ]
            process.send_signal(signal.SIGTERM)
            _, told = process.communicate()
        assert (process.returncode, told) == (0, b"")
        assert [event["ranges"] for event in found if event["event"] == "assigned"] == [
            "172.20.0.0/24,fd00:20::/96",
            "172.20.1.0/24,fd00:20::1:0:0/96",
        ]
        assert server.leases["kube-system/node-ipam-ranges"]["spec"]["holderIdentity"] == ""

    def test_root_is_read_only(self, root: noderoot.NodeRoot) -> None:
        """The test above would notice a file that is written elsewhere."""
        code = "import os, sys; [print(os.access(each, os.W_OK)) for each in sys.argv[1:]]"
        command = self.command(root, ["python3", "-c", code, "/", "/archive", "/tmp", "/state"])
        done = subprocess.run(command, capture_output=True, text=True, env={"PATH": PATH}, check=False)
        assert done.stdout.split() == ["False", "False", "False", "True"]
        touch = [*command[:-6], "-c", "open('/archive/x', 'w')"]
        done = subprocess.run(touch, capture_output=True, text=True, env={"PATH": PATH}, check=False)
        assert "Permission denied" in done.stderr or "Read-only file system" in done.stderr


def status(pid: int) -> list[str]:
    """The lines of /proc/PID/status."""
    return Path(f"/proc/{pid}/status").read_text().splitlines()
