"""Several `ranges assign --yes` at once, killed and stopped at any time, on each API server there is.

FUZZ=34 makes a hundred rounds for each number of processes.
"""

from __future__ import annotations

import ipaddress
import os
import random
import signal
import subprocess
import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import budget
from tests.support.apiserver import ApiServer
from tests.support.clusters import Admin, KubeApiServer
from tests.support.dist import with_lease
from tests.support.nodes import make_node

ASSETS = "KUBEBUILDER_ASSETS"
NET1 = "kube-node.nordix.org/net1"
ROUNDS = 3 * max(1, budget.TIMES)
JOINING = 12  # Nodes in a round
POOL = ("--annotation", NET1, "--cluster-cidr", "172.16.0.0/12,fd00:20::/64")
ASSIGN = ("ranges", "assign", *POOL, "--node-cidr-mask-size-ipv6", "96", "--yes", "--wait", "600")


class Api:
    """Nodes on a server, and what they had when they were last looked at."""

    def __init__(self, server: ApiServer, directory: str) -> None:
        self._server = server
        self._admin = Admin(server, directory)
        self._is_real = isinstance(server, KubeApiServer)
        self._known: dict[str, str] = {}
        self.names: set[str] = set()
        config = server.write_kubeconfig(os.path.join(directory, "admin"), "certificate", "admin", ("system:masters",))
        self.environ = {**os.environ, "KUBECONFIG": config}
        self.assign = [with_lease(directory, 1.0), *ASSIGN]  # a Lease that is soon over

    def add(self, name: str) -> None:
        """A Node without ranges."""
        node = make_node(name, ())
        self.names.add(name)
        if not self._is_real:
            self._server.add(node)
            return
        metadata = {key: node["metadata"][key] for key in ("name", "labels")}
        self._admin.ensure("/api/v1/nodes", {"kind": "Node", "apiVersion": "v1", "metadata": metadata})

    def clear(self) -> None:
        """Remove the Nodes of earlier tests."""
        for name in [node["metadata"]["name"] for node in self._nodes()]:
            if self._is_real:
                self._admin.call("DELETE", f"/api/v1/nodes/{name}")
            else:
                self._server.remove(name)

    def _nodes(self) -> Iterator[dict[str, Any]]:
        """All Nodes, in pages."""
        following = ""
        while True:
            page = self._admin.call("GET", f"/api/v1/nodes?limit=500{following}")
            yield from page["items"]
            if not page["metadata"].get("continue"):
                return
            following = f"&continue={urllib.parse.quote(page['metadata']['continue'])}"

    def check(self, *, is_complete: bool) -> None:
        """Every Node has at most one block of each family; none overlaps, none has changed."""
        now = {}
        for node in self._nodes():
            text = (node["metadata"].get("annotations") or {}).get(NET1)
            if text is not None:
                now[node["metadata"]["name"]] = text
        blocks = [ipaddress.ip_network(each) for text in now.values() for each in text.split(",")]
        assert len(blocks) == len(set(blocks)) == 2 * len(now)
        assert {block.prefixlen for block in blocks} <= {24, 96}
        assert {name: now[name] for name in self._known} == self._known
        self._known = now
        if is_complete:
            assert now.keys() == self.names


@pytest.fixture(scope="module", params=["built-in", "kube-apiserver"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """One of the servers."""
    folder = os.environ.get(ASSETS, "")
    if request.param == "kube-apiserver" and not folder:
        pytest.skip(f"set {ASSETS} to a folder with etcd and kube-apiserver")
    directory = str(tmp_path_factory.mktemp("api"))
    with ApiServer() if request.param == "built-in" else KubeApiServer(folder, directory) as running:
        running.delay = 0.01
        yield running


@pytest.fixture
def api(server: ApiServer, tmp_path: Path) -> Api:
    """A server without Nodes."""
    found = Api(server, str(tmp_path))
    found.clear()
    return found


@pytest.mark.parametrize("count", [2, 4])
def test_killed_and_stopped(api: Api, count: int) -> None:
    """Every node has exactly one block in the end, whatever happened to those that assigned them."""
    source = random.Random(None if budget.TIMES else count)
    for number in range(ROUNDS):
        for place in range(JOINING):
            api.add(f"n{number:03}-{source.randrange(10**6):06}-{place}")
        processes = [start(api) for _ in range(count)]
        try:
            for process in processes:
                harm(process, source)
            for process in processes:
                process.send_signal(signal.SIGCONT)
                process.wait()
        finally:
            for process in processes:
                if process.poll() is None:
                    process.kill()
                    process.wait()
        api.check(is_complete=False)
    done = subprocess.run(api.assign, env=api.environ, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.replace("waiting: ", "")[:9]) in ((0, ""), (0, "the Lease"))
    api.check(is_complete=True)


def test_undisturbed(api: Api) -> None:
    """Four at once: each ends well, and one of them finds the work to do."""
    for number in range(4 * JOINING):
        api.add(f"n{number:03}")
    processes = [start(api) for _ in range(4)]
    assert [process.wait() for process in processes] == [0] * 4
    api.check(is_complete=True)


def start(api: Api) -> subprocess.Popen[bytes]:
    """A process that assigns."""
    return subprocess.Popen(api.assign, env=api.environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def harm(process: subprocess.Popen[bytes], source: random.Random) -> None:
    """Kill it after a while, or stop it for longer than its Lease lasts, or leave it alone."""
    time.sleep(source.uniform(0.0, 1.2))
    kind = source.choice(("kill", "stop", "stop", "term", "nothing"))
    if kind == "stop":
        process.send_signal(signal.SIGSTOP)
        time.sleep(source.uniform(0.0, 2.5))
        if source.random() < 0.7:
            process.send_signal(signal.SIGCONT)  # or only when all others are through
    elif kind != "nothing":
        process.send_signal(signal.SIGKILL if kind == "kill" else signal.SIGTERM)
