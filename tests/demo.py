"""python3 build.py demo: the built plugins serve the pods of a node, called as a container runtime calls them."""

from __future__ import annotations

import io
import ipaddress
import os
import signal
import subprocess
import sys
import tempfile
import time

from plugin import hostlocal
from plugin.node.identity import machine_id
from tests.support.apiserver import ApiServer, make_node, node_authorizer
from tests.support.dist import DIST
from tests.support.parts import PartMissing, host_local
from tests.support.runtime import Answer, Config, Pod, Runtime
from tests.support.screen import Screen

NODE = "vm-002"
POD_CIDRS = ("11.0.1.0/24", "1100:0:0:1::/64")
NET1 = ("172.20.2.0/24", "fd00::2:0:0/96")
IPVLAN = ("172.16.5.0/24",)
NET1_ANNOTATION = "kube-node.nordix.org/net1"
IPVLAN_ANNOTATION = "example.com/ipvlan-ranges"

WEB = (Pod("web-1"), Pod("web-2"))
SECOND = Pod("web-1", interface="net1")
MODERN = Pod("app-1")
OLD = Pod("app-1", "old-application")
FAST = Pod("web-2", interface="net2")
LATE = Pod("web-3")


class Unexpected(Exception):
    """What a plugin answered is not what this is to show."""


class Demo:
    """The node, its API server, a container runtime and what they have done so far."""

    def __init__(self, folder: str, server: ApiServer, screen: Screen) -> None:
        self.folder = folder
        self.server = server
        self.screen = screen
        self.attached: list[tuple[Config, Pod]] = []
        settings = self._file("node-annotation.conf", f'{{"kubeconfig": "{self._path("kubelet.conf")}"}}\n')
        environ = {
            "PATH": os.defpath,
            "HOME": folder,
            "NODE_ANNOTATION_CFG": settings,
            "NODE_IPAM_CACHE": self._path("cache"),
        }
        self.runtime = Runtime([DIST, host_local()], environ)
        annotations = {
            NET1_ANNOTATION: ",".join(NET1),
            IPVLAN_ANNOTATION: f'ranges: [[{{"subnet": "{IPVLAN[0]}"}}]], dataDir: "{self._path("leases")}"',
        }
        server.add(make_node(NODE, POD_CIDRS, annotations, machine_id()))
        server.write_kubeconfig(self._path("kubelet.conf"), "kubelet", NODE)

    def network(self, name: str, **ipam: str) -> Config:
        """A network configuration, as the main plugin hands it on."""
        made = {"type": "kube-node", "kubeconfig": self._path("kubelet.conf"), "dataDir": self._path("leases"), **ipam}
        return {
            "cniVersion": "1.0.0",
            "name": name,
            "isDefaultGateway": name == "k8snet",
            "ipam": made,
        }

    def leases(self) -> int:
        """How many addresses are taken, in all networks."""
        stores = os.listdir(self._path("leases"))
        return sum(len(list(hostlocal.leases(hostlocal.store(self._path("leases"), name)))) for name in stores)

    def introduce(self) -> None:
        """Who takes part."""
        say = self.screen.fact
        self.screen.title("node-ipam: addresses for pods from the Node object")
        say(
            "plugins",
            f"{', '.join(os.path.relpath(self.runtime.find(name)) for name in ('kube-node', 'node-annotation'))}",
        )
        say("host-local", self.runtime.find("host-local"))
        say("API server", f"{self.server.url}, its own CA")
        say("credential", f"client certificate of system:node:{NODE}, which may read its own Node only")
        say("Node", f"{NODE}, podCIDRs {', '.join(POD_CIDRS)}")
        say("", f"{NET1_ANNOTATION} = {','.join(NET1)}")
        say("", f'{IPVLAN_ANNOTATION} = ranges: [[{{"subnet": "{IPVLAN[0]}"}}]], …')
        self.screen.row()
        self.screen.row("command", "pod, interface", "network", "address", "gateway", "ranges", gets="GETs", head=True)

    def version(self) -> None:
        """Ask both plugins what they speak."""
        self._choose_interpreter()
        for name in ("kube-node", "node-annotation"):
            answer = self._good(self.runtime.version(name), "VERSION")
            versions = answer.document()["supportedVersions"]
            self.screen.row("VERSION", name, "", f"CNI {versions[0]} to {versions[-1]}", gets=self._gets())

    def add(self, config: Config, pod: Pod, *ranges: str) -> None:
        """Attach a pod; its addresses must be of these ranges, one of each."""
        before = self.server.count()
        answer = self._good(self.runtime.run("ADD", config, pod), "ADD")
        self.attached.append((config, pod))
        addresses = answer.document()["ips"]
        found = {str(ipaddress.ip_interface(each["address"]).network) for each in addresses}
        if len(addresses) != len(ranges) or found != {str(ipaddress.ip_network(each)) for each in ranges}:
            raise Unexpected(f"ADD gave addresses of {', '.join(sorted(found))}, not of {', '.join(ranges)}")
        source = "asked" if self.server.count() > before else "known"
        cells = ["ADD", _who(pod), config["name"]]
        for each in addresses:
            gets = self._gets() if cells[0] else ""
            self.screen.row(*cells, each["address"], each["gateway"], source, gets=gets)
            cells, source = ["", "", ""], ""
        self.screen.aside(answer.stderr)

    def plain(self, command: str, config: Config, pod: Pod | None, outcome: str) -> None:
        """A command that answers nothing when all is well."""
        answer = self._good(self.runtime.run(command, config, pod), command)
        self.screen.row(command, _who(pod) if pod else "", config["name"], outcome, gets=self._gets())
        self.screen.aside(answer.stderr)

    def _choose_interpreter(self) -> None:
        """Without a fitting Python where the first line of the archive says, take this one."""
        try:
            usable = self.runtime.version("kube-node").status == 0
        except OSError:
            usable = False
        if not usable:
            self.runtime.interpreter = (sys.executable, "-IS")
            self.screen.aside(f"the first line names no Python that fits: {sys.executable} instead")

    def _good(self, answer: Answer, command: str) -> Answer:
        if answer.status:
            try:
                error = answer.document()
                text = f"code {error.get('code')}: {error.get('msg')}; {error.get('details', '')}"
            except ValueError as broken:
                text = str(broken)
            raise Unexpected(f"{command} failed with {text}\n{answer.stderr}".rstrip())
        return answer

    def _gets(self) -> str:
        return str(self.server.count())

    def _path(self, name: str) -> str:
        return os.path.join(self.folder, name)

    def _file(self, name: str, text: str) -> str:
        with open(self._path(name), "w", encoding="utf-8") as file:
            file.write(text)
        return self._path(name)


def show(demo: Demo) -> None:
    """The scenes, in order. Raises Unexpected when one does not come out."""
    scene = demo.screen.title
    main, second = demo.network("k8snet"), demo.network("net1", annotation=NET1_ANNOTATION)
    limited = {**main, "ipam": {**main["ipam"], "ipv4-namespaces": [OLD.namespace]}}
    third = {**demo.network("net2"), "ipam": {"type": "node-annotation", "annotation": IPVLAN_ANNOTATION}}
    demo.introduce()
    demo.version()
    scene("Main network: podCIDRs of the node", '"ipam": {"type": "kube-node", …}')
    for pod in WEB:
        demo.add(main, pod, *POD_CIDRS)
    scene("Secondary network: an annotation", f'"ipam": {{"type": "kube-node", "annotation": "{NET1_ANNOTATION}", …}}')
    demo.add(second, SECOND, *NET1)
    scene(
        "IPv4 for some namespaces only", f'"ipam": {{"type": "kube-node", "ipv4-namespaces": ["{OLD.namespace}"], …}}'
    )
    demo.add(limited, MODERN, POD_CIDRS[1])
    demo.add(limited, OLD, *POD_CIDRS)
    scene("Any host-local configuration", f'"ipam": {{"type": "node-annotation", "annotation": "{IPVLAN_ANNOTATION}"}}')
    demo.add(third, FAST, *IPVLAN)
    scene("Is all well?")
    demo.plain("STATUS", {**main, "cniVersion": "1.1.0"}, None, "ready")
    for config, pod in demo.attached:
        demo.plain("CHECK", config, pod, "as it was given")
    demo.server.stop()
    scene("The API server is stopped", '"cacheSeconds": 0 makes it try; what is known is used instead')
    demo.add({**main, "ipam": {**main["ipam"], "cacheSeconds": 0}}, LATE, *POD_CIDRS)
    for config, pod in demo.attached:
        demo.plain("DEL", config, pod, "released")
    if demo.leases():
        raise Unexpected(f"{demo.leases()} leases are left after DEL of all")


def _who(pod: Pod) -> str:
    return f"{pod.namespace}/{pod.name} {pod.interface}"


def _interrupt(_signal: int, _frame: object) -> None:
    raise KeyboardInterrupt


def main() -> int:
    """Show it; the exit status."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    started = time.monotonic()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    screen = Screen(sys.stdout)
    try:
        with tempfile.TemporaryDirectory(prefix="node-ipam-demo-") as folder, ApiServer(rule=node_authorizer) as server:
            demo = Demo(folder, server, screen)
            show(demo)
            pods, gets = len(demo.attached), server.count()
        screen.title(
            f"Served {pods} attachments with {gets} GET in {time.monotonic() - started:.1f} s; no lease is left.",
            "On a node: sudo ./node-ipam.pyz install, or copy it to /opt/cni/bin and link the two names to it.",
        )
    except KeyboardInterrupt:
        print("\ninterrupted; everything is removed", file=sys.stderr)
        return 1
    except (Unexpected, PartMissing, OSError, subprocess.TimeoutExpired) as error:
        print(f"\ndemo failed: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
