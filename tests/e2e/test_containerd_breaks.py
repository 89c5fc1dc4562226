"""No lease is lost or left behind if containerd, its calls or the plugins end in the middle."""

from __future__ import annotations

import concurrent.futures
import itertools
import threading
from pathlib import Path

from plugin.ops.install import archive
from tests.support.apiserver import Handler
from tests.support.cri import Failed
from tests.support.crinode import WORKERS, CriNode, at_once
from tests.support.dist import ARCHIVE
from tests.support.runtime import SECONDS, Pod

PODS = [Pod(f"web-{number}") for number in range(50)]
OLD = 3600.0  # seconds; gc's leases are older than ten minutes


def attempt(node: CriNode, pod: Pod) -> str:
    """Start a pod; return the id of its sandbox, empty if that fails."""
    try:
        return node.containerd.cri.start(pod)
    except Failed:
        return ""


def start_in_background(node: CriNode) -> tuple[concurrent.futures.Executor, list[concurrent.futures.Future[str]]]:
    """Start all pods, some at a time."""
    pool = concurrent.futures.ThreadPoolExecutor(WORKERS)
    return pool, [pool.submit(attempt, node, pod) for pod in PODS]


def test_killed_containerd(cri_node: CriNode) -> None:
    """containerd is killed during 50 starts: gc names and releases exactly what is left after all pods are removed."""
    cri_node.containerd.network(cri_node.config())
    pool, starts = start_in_background(cri_node)
    next(concurrent.futures.as_completed(starts[10:]))
    cri_node.containerd.kill()
    pool.shutdown()
    cri_node.containerd.settle()
    cri_node.containerd.start()
    known = cri_node.containerd.cri.sandboxes()
    assert 0 < len(known) < len(PODS)
    cri_node.end(known)
    print(
        f"{sum(map(bool, (each.result() for each in starts)))} started, {len(known)} known, left: {cri_node.leases()}"
    )
    left = cri_node.leases()
    assert not set(left.values()) & set(known)

    cri_node.pass_time(OLD)
    found = cri_node.containerd.document("gc", "k8snet")["leases"]
    assert {entry["address"]: entry["container"] for entry in found} == left
    cri_node.containerd.document("gc", "k8snet", "--yes")
    assert cri_node.leases() == {}


def test_cancelled_call(cri_node: CriNode) -> None:
    """The call is cancelled while the API server is slow: the plugin, which gets the answer later, leaves no lease."""
    queried, answering = threading.Event(), threading.Event()

    def slow(_handler: Handler) -> bool:
        queried.set()
        answering.wait(SECONDS)
        return False

    cri_node.containerd.network(cri_node.config())
    cri_node.server.fault = slow
    call = cri_node.containerd.cri.begin(Pod("web-0"))
    assert queried.wait(SECONDS)
    call.cancel()
    cri_node.containerd.wait_for_log(r"RunPodSandbox for .*web-0.* failed, error")  # after its DEL
    answering.set()
    cri_node.containerd.settle()

    assert cri_node.server.count() == 1
    assert cri_node.leases() == {}


def test_archive_replaced(cri_node: CriNode, tmp_path: Path) -> None:
    """50 pods start and stop while two versions of the archive replace each other: none fails, no lease is left."""
    cri_node.containerd.network(cri_node.config())
    later = str(tmp_path / "later.pyz")
    archive.place(later, archive.pack({**archive.unpack(ARCHIVE), "later": b""}))
    done = threading.Event()
    said = []

    def replace() -> None:
        for version in itertools.cycle([later, ARCHIVE]):
            said.append(cri_node.containerd.machine.run(version, "install", "--bin-dir", cri_node.containerd.plugins))
            if done.is_set() and version == ARCHIVE:
                return

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        installing = pool.submit(replace)
        try:
            sandboxes = at_once(cri_node.containerd.cri.start, PODS)
            cri_node.end(sandboxes)
        finally:
            done.set()
        installing.result()
    replaced = [line for line in said if "already installed" not in line]
    print(f"{len(replaced)} replacements")

    assert len(replaced) == len(said) > 1
    assert cri_node.leases() == {}
