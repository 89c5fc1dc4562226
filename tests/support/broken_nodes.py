"""What can be wrong with a node: each function breaks a healthy one in one way."""

from __future__ import annotations

import base64
import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from plugin import kube_node
from plugin.kube import kubelet
from plugin.ops.doctor import access
from plugin.ops.install import archive
from tests.support.operator_node import NODE, OperatorNode, sources
from tests.support.pki import Authority
from tests.support.rules import rbac_nothing


def private(node: OperatorNode, name: str, config: dict[str, Any]) -> None:
    """Let the network use this kubeconfig."""
    path = node.directory / name
    path.touch(0o600)
    path.write_text(json.dumps(config), encoding="utf-8")
    node.network(kubeconfig=str(path))


def with_token(node: OperatorNode, seconds: float) -> dict[str, Any]:
    """A kubeconfig with a JSON web token that ends so many seconds from now."""
    claims = {"sub": "node-ipam", "exp": time.time() + seconds}
    parts = (base64.urlsafe_b64encode(json.dumps(each).encode()).decode().rstrip("=") for each in ({}, claims, "x"))
    config = node.server.kubeconfig("none")
    config["users"][0]["user"] = {"token": ".".join(parts)}
    return config


def no_host_local(node: OperatorNode) -> None:
    """It is not where the runtime looks."""
    os.unlink(node.bin / "host-local")


def wrong_kubeconfig(node: OperatorNode) -> None:
    """The configuration names a file that is not there."""
    node.network(kubeconfig=str(node.directory / "kubeconfig"))


def broken_kubeconfig(node: OperatorNode) -> None:
    """The file is no kubeconfig."""
    Path(node.kubeconfig).write_text("apiVersion: v1\nkind: Config\n", encoding="utf-8")


def expired_token(node: OperatorNode) -> None:
    """A token that says itself when it ended."""
    private(node, "token.conf", with_token(node, -7200))


def expired_credential_of_the_kubelet(node: OperatorNode) -> None:
    """The kubelet has not renewed its own."""
    Path(node.kubeconfig).write_text(json.dumps(with_token(node, -7200)), encoding="utf-8")


def expired_credential_of_a_running_kubelet(node: OperatorNode) -> None:
    """The same, of a kubelet whose command line says where it is."""
    expired_credential_of_the_kubelet(node)
    node.monkeypatch.setattr(kubelet, "kubeconfig", lambda _proc, _cache: node.kubeconfig)


def no_token_file(node: OperatorNode) -> None:
    """The file that the kubeconfig names is gone."""
    private(node, "token.conf", node.server.kubeconfig("token-file", directory=str(node.directory)))
    os.unlink(node.directory / "token")


def unknown_token(node: OperatorNode) -> None:
    """A token that the server does not know any more."""
    path = node.server.write_kubeconfig(node.directory / "token.conf")
    node.server.users.clear()
    node.network(kubeconfig=path)


def forbidden(node: OperatorNode) -> None:
    """The credential is good, and may do nothing."""
    path = node.server.write_kubeconfig(node.directory / "token.conf")
    node.server.rule = rbac_nothing
    node.network(kubeconfig=path, nodeName=NODE)


def server_down(node: OperatorNode) -> None:
    """Nobody listens."""
    node.monkeypatch.setattr(access, "PATIENCE", 0.5)
    node.server.stop()


def wrong_authority(node: OperatorNode) -> None:
    """The kubeconfig names another authority."""
    node.server.authority, kept = Authority("another"), node.server.authority
    config = node.server.kubeconfig()
    node.server.authority = kept
    private(node, "other.conf", config)


def no_pod_cidrs(node: OperatorNode) -> None:
    """kube-controller-manager gives none."""
    node.node["spec"] = {}


def no_annotation(node: OperatorNode) -> None:
    """Nobody has annotated the node."""
    node.network(annotation="example.com/net1")


def bad_annotation(node: OperatorNode) -> None:
    """The annotation holds something else than ranges."""
    node.node["metadata"]["annotations"]["example.com/net1"] = "10.0.0.0/24,10.0.1.5/24"
    node.network(annotation="example.com/net1")


def bad_expression(node: OperatorNode) -> None:
    """The annotation for node-annotation is cut off."""
    node.node["metadata"]["annotations"]["example.com/net1"] = 'ranges: [[{"subnet": "10.0.0.0/24"}]'
    node.network(type="node-annotation", annotation="example.com/net1", dataDir=None)


def overlapping_sets(node: OperatorNode) -> None:
    """The annotation for node-annotation has one address twice."""
    ranges = '"ranges": [[{"subnet": "10.0.0.0/24"}], [{"subnet": "10.0.0.128/25"}]]'
    node.node["metadata"]["annotations"]["example.com/net1"] = ranges
    node.network(type="node-annotation", annotation="example.com/net1", dataDir=None)


def overlapping_networks(node: OperatorNode) -> None:
    """Another network has its addresses in the same range."""
    node.network("another", type="host-local", subnet="10.244.0.0/16")


def data_dir_on_disk(node: OperatorNode) -> None:
    """The leases outlive a reboot."""
    node.network(dataDir=None)


def pinned(node: OperatorNode) -> None:
    """A file says the ranges."""
    (node.memory / kube_node.PINNED).write_text('{"ranges": [[{"subnet": "10.9.0.0/24"}]]}', encoding="utf-8")


def broken_link(node: OperatorNode) -> None:
    """The link leads to a file that is gone."""
    archive.link(str(node.bin / "kube-node"), "kube-node-1.0")


def missing_link(node: OperatorNode) -> None:
    """Only the file was copied."""
    os.unlink(node.bin / "kube-node")


def other_program(node: OperatorNode) -> None:
    """The Go plugin is in its place."""
    os.unlink(node.bin / "kube-node")
    shutil.copy("/bin/true", node.bin / "kube-node")


def half_written(node: OperatorNode) -> None:
    """A copy was interrupted."""
    os.truncate(node.bin / archive.FILE, 20000)


def not_executable(node: OperatorNode) -> None:
    """It was copied by something that keeps no modes."""
    os.chmod(node.bin / archive.FILE, 0o644)


def no_interpreter(node: OperatorNode) -> None:
    """The Python that it was installed for has been removed."""
    data = (node.bin / archive.FILE).read_bytes().partition(b"\n")[2]
    archive.place(str(node.bin / archive.FILE), archive.shebang("/usr/bin/python3.8") + data)


def no_first_line(node: OperatorNode) -> None:
    """A whole archive that the kernel does not take for a script."""
    data = (node.bin / archive.FILE).read_bytes()
    archive.place(str(node.bin / archive.FILE), data.replace(b"#!", b"  ", 1))


def full_range(node: OperatorNode) -> None:
    """Pods have taken all there is."""
    node.node["spec"] = {"podCIDRs": ["10.244.1.0/29"]}
    for last in range(2, 7):
        node.lease(f"10.244.1.{last}", f"c{last} eth0")


def full_of_stale_leases(node: OperatorNode) -> None:
    """Pods that are gone have left all there is taken."""
    full_range(node)
    node.result("another")
    for last in range(2, 7):
        node.lease(f"10.244.1.{last}", f"c{last} eth0", age=3600)


def full_of_another_programs(node: OperatorNode) -> None:
    """What has taken all there is has its results elsewhere."""
    full_of_stale_leases(node)
    os.unlink(node.results / "k8snet-another-eth0")
    node.result("another", network="another")


def another_machine(node: OperatorNode) -> None:
    """The image of this machine was copied with its kubelet's credential."""
    node.node["status"]["nodeInfo"]["machineID"] = "f" * 32


def no_configuration(node: OperatorNode) -> None:
    """Nothing uses the plugin."""
    os.unlink(node.conf / "10-k8snet.conflist")


def broken_configuration(node: OperatorNode) -> None:
    """A file that the runtime cannot read either."""
    node.write("net.d/20-more.conflist", '{"name": "more",')


def misspelt_configuration(node: OperatorNode) -> None:
    """A value of the wrong type."""
    node.network(cacheSeconds="30")


def no_next_plugin(node: OperatorNode) -> None:
    """node-annotation's own file names a plugin that is not there."""
    node.monkeypatch.setenv("NODE_ANNOTATION_CFG", node.write("nacfg", '{"nextipam": "whereabouts"}'))
    node.node["metadata"]["annotations"]["example.com/net1"] = '"ranges": [[{"subnet": "10.0.0.0/24"}]]'
    node.network(type="node-annotation", annotation="example.com/net1", dataDir=None)


def broken_annotation_file(node: OperatorNode) -> None:
    """node-annotation's own file is no JSON."""
    node.monkeypatch.setenv("NODE_ANNOTATION_CFG", node.write("nacfg", "kubeconfig=/etc/kubeconfig"))
    node.network(type="node-annotation", annotation="example.com/net1", dataDir=None)


def open_cache(node: OperatorNode) -> None:
    """Anybody may have written into the cache, and something else is in it: then it is not mended."""
    os.mkdir(os.environ["NODE_IPAM_CACHE"], 0o755)
    open(os.path.join(os.environ["NODE_IPAM_CACHE"], "something else"), "wb").close()


def empty_leases(node: OperatorNode) -> None:
    """host-local was killed at the wrong moment."""
    node.lease("10.244.1.9", age=3600)


def no_folder(node: OperatorNode) -> None:
    """The runtime looks somewhere else."""
    node.monkeypatch.setenv("CNI_PATH", f"/nowhere:{node.bin}")
    for name in (archive.FILE, *archive.LINKS):
        os.unlink(node.bin / name)


def no_archive(node: OperatorNode) -> None:
    """The links are there, and what they lead to is not."""
    os.unlink(node.bin / archive.FILE)


def older_version(node: OperatorNode) -> None:
    """What is installed is not what is asked."""
    old = sources()
    old["plugin/__init__.py"] = old["plugin/__init__.py"].replace(b'__version__ = "', b'__version__ = "0.0.')
    archive.place(str(node.bin / archive.FILE), archive.pack(old, sys.executable))


def not_ours(node: OperatorNode) -> None:
    """A whole archive, but of another program."""
    other = {name: data for name, data in sources().items() if name != "plugin/__init__.py"}
    archive.place(str(node.bin / archive.FILE), archive.pack(other, sys.executable))


def not_a_file(node: OperatorNode) -> None:
    """A pipe: to read it would be to wait."""
    os.unlink(node.bin / archive.FILE)
    os.mkfifo(node.bin / archive.FILE)


def mute(node: OperatorNode) -> None:
    """A whole archive that fails when it is run."""
    broken = {**sources(), "plugin/process.py": b"raise SystemError"}
    archive.place(str(node.bin / archive.FILE), archive.pack(broken, sys.executable))


def old_interpreter(node: OperatorNode) -> None:
    """The interpreter is there, but no Python."""
    data = (node.bin / archive.FILE).read_bytes().partition(b"\n")[2]
    archive.place(str(node.bin / archive.FILE), archive.shebang("/bin/false") + data)


def other_host_local(node: OperatorNode) -> None:
    """What is called host-local is something else."""
    archive.link(str(node.bin / "host-local"), "/bin/true")


def another_host_local(node: OperatorNode) -> None:
    """node-annotation's own file names a host-local elsewhere, which is something else."""
    node.make("other")
    archive.link(str(node.directory / "other/host-local"), "/bin/true")
    text = json.dumps({"nextipam": str(node.directory / "other/host-local")})
    node.monkeypatch.setenv("NODE_ANNOTATION_CFG", node.write("nacfg", text))
    node.node["metadata"]["annotations"]["example.com/net1"] = '"ranges": [[{"subnet": "10.0.0.0/24"}]]'
    node.network(type="node-annotation", annotation="example.com/net1", dataDir=str(node.memory))


def mute_plugin(node: OperatorNode) -> None:
    """A plugin of the list prints nothing."""
    archive.link(str(node.bin / "portmap"), "/bin/true")


def unfit_host_local(node: OperatorNode) -> None:
    """host-local is for another machine."""
    os.unlink(node.bin / "host-local")
    node.write("bin/host-local", "\x7fELF")
    os.chmod(node.bin / "host-local", 0o755)


def plain_http(node: OperatorNode) -> None:
    """The server key has lost an s."""
    config = node.server.kubeconfig()
    cluster = config["clusters"][0]["cluster"]
    cluster["server"] = cluster["server"].replace("https", "http")
    private(node, "http.conf", config)


def anonymous(node: OperatorNode) -> None:
    """The user has no credential."""
    private(node, "none.conf", node.server.kubeconfig("none"))


def ends_soon(node: OperatorNode) -> None:
    """A token that somebody has copied, and that nobody renews."""
    private(node, "token.conf", with_token(node, 3 * 86400 + 60))


def deleted(node: OperatorNode) -> None:
    """The Node object is gone."""
    node.server.nodes.clear()


def nearly_full(node: OperatorNode) -> None:
    """Few addresses are left."""
    node.node["spec"] = {"podCIDRs": ["10.244.1.0/28"]}
    for last in range(2, 14):
        node.lease(f"10.244.1.{last}", f"c{last} eth0")


def no_ipv6(node: OperatorNode) -> None:
    """IPv4 is for some namespaces only, and there is nothing else."""
    node.node["spec"] = {"podCIDRs": ["10.244.1.0/24"]}
    limited: dict[str, Any] = {"ipv4-namespaces": ["old-application"]}
    node.network(**limited)


def cache_is_a_file(node: OperatorNode) -> None:
    """Something else has the name of the cache."""
    Path(os.environ["NODE_IPAM_CACHE"]).touch()


def no_place_for_the_cache(node: OperatorNode) -> None:
    """There is nothing to make the cache in."""
    node.monkeypatch.setenv("NODE_IPAM_CACHE", "/nowhere/cache")


def cache_of_another_user(node: OperatorNode) -> None:
    """Somebody else has made it."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to give a directory away")
    os.mkdir(os.environ["NODE_IPAM_CACHE"], 0o700)
    os.chown(os.environ["NODE_IPAM_CACHE"], 65534, -1)


def cache_below_a_file(node: OperatorNode) -> None:
    """What should be a directory above the cache is a file."""
    node.monkeypatch.setenv("NODE_IPAM_CACHE", node.write("file", "") + "/cache")
