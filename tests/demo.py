"""python3 build.py demo: call the built plugins as a container runtime does, and show each call and its result.

It needs the standard library, the built archive, host-local and the certificates in tests/support/demo_pki only.
"""

from __future__ import annotations

import argparse
import io
import ipaddress
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence

from plugin.leases import hostlocal
from plugin.node.identity import machine_id
from tests.support.apiserver import ApiServer, make_node, node_authorizer
from tests.support.demo_pki import NODE, DemoAuthority
from tests.support.dist import DIST
from tests.support.parts import PartMissing, host_local
from tests.support.runtime import Answer, Config, Pod, Runtime
from tests.support.screen import Screen

POD_CIDRS = ("11.0.1.0/24", "1100:0:0:1::/64")
NET1 = ("172.20.2.0/24", "fd00::2:0:0/96")
IPVLAN = ("172.16.5.0/24",)
NET1_ANNOTATION = "kube-node.nordix.org/net1"
IPVLAN_ANNOTATION = "example.com/ipvlan-ranges"

PLUGINS = ("kube-node", "node-annotation")
WEB = (Pod("web-1"), Pod("web-2"))
SECOND = Pod("web-1", interface="net1")
MODERN = Pod("app-1")
OLD = Pod("app-1", "old-application")
FAST = Pod("web-2", interface="net2")
LATE = Pod("web-3")


class Unexpected(Exception):
    """A plugin's result is not the one that the scene shows."""


class Demo:
    """The node, its API server, a container runtime, and the pods attached so far."""

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
        """Return a network configuration, as the main plugin passes it on."""
        made = {"type": "kube-node", "kubeconfig": self._path("kubelet.conf"), "dataDir": self._path("leases"), **ipam}
        return {
            "cniVersion": "1.0.0",
            "name": name,
            "isDefaultGateway": name == "k8snet",
            "ipam": made,
        }

    def leases(self) -> int:
        """Return the number of leases in all networks."""
        stores = os.listdir(self._path("leases"))
        return sum(len(list(hostlocal.leases(hostlocal.store(self._path("leases"), name)))) for name in stores)

    def introduce(self) -> None:
        """Show what takes part, and explain the columns."""
        say = self.screen.fact
        self.screen.title("node-ipam: addresses for pods from the Node object")
        say("plugins", ", ".join(os.path.relpath(self.runtime.find(name)) for name in PLUGINS))
        say("host-local", self.runtime.find("host-local"))
        say("API server", f"{self.server.url}, a test server with its own CA")
        say("credential", f"client certificate of system:node:{NODE}, which may read its own Node only")
        say("Node", f"{NODE}, podCIDRs {', '.join(POD_CIDRS)}")
        say("annotation", f"{NET1_ANNOTATION}={','.join(NET1)}")
        say("annotation", f'{IPVLAN_ANNOTATION}=ranges: [[{{"subnet": "{IPVLAN[0]}"}}]], …')
        self.screen.title("Columns")
        say("address", "what the plugin returned for this pod and interface")
        say("ranges", "queried: read from the API server for this call; cached: known from an earlier one")
        say("GETs", "requests to the API server so far")
        self.screen.row()
        self.screen.row("command", "network", "pod, interface", "address", "ranges", gets="GETs", head=True)

    def version(self) -> None:
        """Show the CNI versions that both plugins support."""
        self._choose_interpreter()
        for name in PLUGINS:
            answer = self._good(self.runtime.version(name), "VERSION")
            versions = answer.document()["supportedVersions"]
            self.screen.row("VERSION", "", name, f"CNI {versions[0]} to {versions[-1]}", gets=self._gets())

    def add(self, config: Config, pod: Pod, *ranges: str) -> None:
        """Attach a pod. Raises Unexpected unless it gets one address of each of these ranges."""
        before = self.server.count()
        answer = self._good(self.runtime.run("ADD", config, pod), "ADD")
        self.attached.append((config, pod))
        addresses = answer.document()["ips"]
        found = {str(ipaddress.ip_interface(each["address"]).network) for each in addresses}
        if len(addresses) != len(ranges) or found != {str(ipaddress.ip_network(each)) for each in ranges}:
            raise Unexpected(f"ADD returned addresses of {', '.join(sorted(found))}, not of {', '.join(ranges)}")
        source = "queried" if self.server.count() > before else "cached"
        cells = ["ADD", config["name"], _who(pod)]
        for each in addresses:
            gets = self._gets() if cells[0] else ""
            self.screen.row(*cells, each["address"], source, gets=gets)
            cells, source = ["", "", ""], ""
        self.screen.aside(answer.stderr)

    def plain(self, command: str, config: Config, pod: Pod | None, outcome: str) -> None:
        """Run a command that prints nothing if it succeeds."""
        answer = self._good(self.runtime.run(command, config, pod), command)
        self.screen.row(command, config["name"], _who(pod) if pod else "", outcome, gets=self._gets())
        self.screen.aside(answer.stderr)

    def _choose_interpreter(self) -> None:
        """Use the running Python if the archive's first line names none that fits."""
        try:
            usable = self.runtime.version("kube-node").status == 0
        except OSError:
            usable = False
        if not usable:
            self.runtime.interpreter = (sys.executable, "-IS")
            self.screen.aside(f"the first line of the archive names no suitable Python; using {sys.executable}")

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
    """Run the scenes in order. Raises Unexpected if a result differs from what a scene shows."""
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
    scene("Health checks")
    demo.plain("STATUS", {**main, "cniVersion": "1.1.0"}, None, "ready")
    for config, pod in demo.attached:
        demo.plain("CHECK", config, pod, "unchanged")
    demo.server.stop()
    scene("The API server is stopped", '"cacheSeconds": 0 forces a query; it fails, so the cached ranges are used')
    demo.add({**main, "ipam": {**main["ipam"], "cacheSeconds": 0}}, LATE, *POD_CIDRS)
    for config, pod in demo.attached:
        demo.plain("DEL", config, pod, "released")
    if demo.leases():
        raise Unexpected(f"{demo.leases()} leases are left after the last DEL")


def _api_server() -> ApiServer:
    return ApiServer(authority=DemoAuthority(), rule=node_authorizer)


def _who(pod: Pod) -> str:
    return f"{pod.namespace}/{pod.name} {pod.interface}"


def _interrupt(_signal: int, _frame: object) -> None:
    raise KeyboardInterrupt


def main(argv: Sequence[str]) -> int:
    """Run the demo and return the exit status."""
    argparse.ArgumentParser(prog="build.py demo", description=__doc__, allow_abbrev=False).parse_args(argv)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    started = time.monotonic()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    screen = Screen(sys.stdout)
    try:
        with tempfile.TemporaryDirectory(prefix="node-ipam-demo-") as folder, _api_server() as server:
            demo = Demo(folder, server, screen)
            show(demo)
            pods, gets = len(demo.attached), server.count()
        screen.title(
            f"{pods} attachments, {gets} GET, {time.monotonic() - started:.1f} s; all leases are released.",
            "To install: copy dist/node-ipam.pyz to a node, then run its install there.",
        )
    except KeyboardInterrupt:
        print("\ninterrupted; all files are removed", file=sys.stderr)
        return 1
    except (Unexpected, PartMissing, OSError, subprocess.TimeoutExpired) as error:
        print(f"\ndemo failed: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
