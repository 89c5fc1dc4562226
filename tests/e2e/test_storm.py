"""Many pods at once while everything breaks: processes killed, the cache deleted, the server restarted and slowed.

NODE_IPAM_STORM_SECONDS says for how long; the suite takes a short one.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path

from plugin.cache import Cache
from tests.support.nodes import make_node
from tests.support.runtime import Config, Pod, wait_for_end
from tests.support.world import NODE, World

SECONDS = float(os.environ.get("NODE_IPAM_STORM_SECONDS", "20"))
WORKERS = 20
ANNOTATION = "example.com/storm"
OTHER = "vm-003"
SMALL = "data-small"  # a directory on a disk that is full now and then
MAY_MOUNT = os.geteuid() == 0 and not subprocess.call(["unshare", "-m", "true"], stderr=subprocess.DEVNULL)
# Where the ranges of the networks are: of ours, and where the same field of the other node's Node is.
SUBNETS = {"net1": "172.20.0.0/16,fd00::2:0:0/96", "logged": "172.21.0.0/16", "small": "172.22.0.0/16"}
OTHERS = ("11.0.3.", "1100:0:0:3:", "172.3")
# Why an ADD may be refused: the server is away; no space for a lease; no place for a record.
REFUSALS = {11: "", 999: "no space left", 5: "DEL of this pod"}


class Storm:
    """What the pods got, and what went wrong."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.ends = time.monotonic() + SECONDS
        self.lock = threading.Lock()
        self.owners: dict[tuple[str, str], Pod] = {}  # of (network, address)
        self.troubles: list[str] = []
        self.killed: list[tuple[Config, Pod]] = []
        self.swaps: list[tuple[float, float]] = []  # when the kubeconfig was the other node's
        self.counts = {"ADD": 0, "DEL": 0, "killed": 0, "refused": 0, "left": 0, "undelivered": 0}
        self.counts |= dict.fromkeys(("cache", "restart", "slow", "quick", "swap", "full", "unusable"), 0)

    def count(self, what: str) -> None:
        """One more of these."""
        with self.lock:
            self.counts[what] += 1

    def work(self, worker: int, config: Config) -> None:
        """ADD and DEL one pod after another, some of them killed on the way."""
        dice = random.Random(worker)
        number = 0
        while time.monotonic() < self.ends:
            number += 1
            pod = Pod(f"pod-{worker}-{number}")
            if dice.random() < 0.2:
                self.kill("ADD", config, pod, dice.random() * 0.1)
            elif dice.random() < 0.2:
                self.leave(config, pod, dice.random() * 0.1)
            else:
                self.add(config, pod)
            if dice.random() < 0.1:
                self.kill("DEL", config, pod, dice.random() * 0.05)
            self.delete(config, pod)

    def add(self, config: Config, pod: Pod) -> None:
        """ADD; an address that somebody else has is the worst of troubles."""
        started = time.monotonic()
        answer = self.world.runtime.run("ADD", config, pod)
        self.count("ADD")
        try:
            document = answer.document()
        except ValueError as error:
            self.troubles.append(str(error))
            return
        if answer.status:
            self.count("refused")
            if REFUSALS.get(document["code"], "nothing") not in document["msg"]:
                self.troubles.append(f"ADD: {document}")
            return
        with self.lock:
            for each in document["ips"]:
                if each["address"].startswith(OTHERS) and not self.was_swapped(started):
                    self.troubles.append(f"{each['address']} is another node's")
                other = self.owners.setdefault((config["name"], each["address"]), pod)
                if other != pod:
                    self.troubles.append(f"{each['address']} given to {pod.name} and {other.name}")

    def was_swapped(self, since: float) -> bool:
        """Whether the kubeconfig was the other node's at some time since then."""
        return any(since < end for _start, end in self.swaps)

    def delete(self, config: Config, pod: Pod) -> None:
        """DEL, which must never fail."""
        with self.lock:
            self.owners = {address: owner for address, owner in self.owners.items() if owner != pod}
        answer = self.world.runtime.run("DEL", config, pod)
        self.count("DEL")
        if answer.status and "cannot be read" in answer.document()["msg"]:  # the record: a runtime tries again
            self.killed.append((config, pod))
        elif answer.status:
            self.troubles.append(f"DEL: {answer}")

    def leave(self, config: Config, pod: Pod, seconds: float) -> None:
        """ADD for a caller that goes away; without its result being delivered there is no lease."""
        call = self.world.runtime.call("ADD", config, pod)
        source, sink = os.pipe()
        pipe, nothing = subprocess.PIPE, subprocess.DEVNULL
        with subprocess.Popen(call.argv, env=call.environ, stdin=pipe, stdout=sink, stderr=nothing) as process:
            os.close(sink)
            assert process.stdin
            process.stdin.write(call.stdin)
            process.stdin.close()
            time.sleep(seconds)
            os.close(source)
        self.count("left")
        if process.returncode:
            self.count("undelivered")
            if self.holds(config, pod):
                self.troubles.append(f"{pod.name} of {config['name']} has a lease, but no result")

    def holds(self, config: Config, pod: Pod) -> bool:
        """Whether the pod has a lease."""
        for path in Path(self.world.path(store_of(config))).glob("*"):
            with suppress(OSError):
                if path.name[0].isdigit() and pod.container in path.read_text(encoding="utf-8"):
                    return True
        return False

    def kill(self, command: str, config: Config, pod: Pod, seconds: float) -> None:
        """Start a command and kill the plugin while it is at it."""
        call = self.world.runtime.call(command, config, pod)
        pipe, nothing = subprocess.PIPE, subprocess.DEVNULL
        with subprocess.Popen(call.argv, env=call.environ, stdin=pipe, stdout=nothing, stderr=nothing) as process:
            with suppress(subprocess.TimeoutExpired):
                process.communicate(call.stdin, timeout=seconds)
            process.kill()
        self.killed.append((config, pod))
        self.count("killed")

    def weather(self) -> None:
        """Over and over: empty the cache or make it unusable, fill a disk, restart or slow the server, swap files."""
        dice = random.Random(0)
        server = self.world.server
        root = ("full", "unusable") if MAY_MOUNT else ()
        while time.monotonic() < self.ends:
            time.sleep(dice.random())
            what = dice.choice(("cache", "restart", "slow", "quick", "swap", *root))
            self.count(what)
            if what == "cache":
                self.empty_cache()
            elif what == "restart":
                server.stop()
                time.sleep(dice.random())
                server.start()
            elif what == "swap":
                self.swaps.append((time.monotonic(), float("inf")))
                self.swap("other")
                time.sleep(dice.random())
                self.swap("own")
                self.swaps[-1] = (self.swaps[-1][0], time.monotonic())
            elif what == "full":
                fill(self.world.path(SMALL))
                time.sleep(dice.random())
                os.unlink(f"{self.world.path(SMALL)}/filler")
            elif what == "unusable":
                os.chown(self.world.cache, 1, -1)
                time.sleep(dice.random())
                os.chown(self.world.cache, os.geteuid(), -1)
            else:
                server.delay = 0.5 if what == "slow" else 0.0
        server.delay = 0.0

    def empty_cache(self) -> None:
        """Remove what is in the cache, but for the records of attachments: a reboot takes those, and their pods."""
        for entry in os.scandir(self.world.cache):
            if not entry.name.startswith(("at:", "used-")):
                with suppress(OSError):
                    os.unlink(entry.path)

    def swap(self, whose: str) -> None:
        """Put a copy of the kubeconfig of this or the other node in place."""
        new = self.world.path("kubelet.new")
        shutil.copy(self.world.path(f"{whose}/kubelet.conf"), new)
        os.replace(new, self.world.kubeconfig)


def store_of(config: Config) -> str:
    """The store of a network, in the world's directory."""
    folders = {"k8snet": "data", "net1": "data", "annotated": "data-annotated", "small": SMALL}
    return f"{folders.get(config['name'], 'data-' + config['name'])}/{config['name']}"


def fill(folder: str) -> None:
    """Leave no space on a disk."""
    with open(f"{folder}/filler", "wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(b"x" * 4096)


def prepare(world: World) -> None:
    """Kubeconfigs of both nodes, the other one's Node with other ranges, and a small disk."""
    node = world.server.add(make_node(OTHER, ("11.0.3.0/24", "1100:0:0:3::/64"), machine_id="f" * 32))
    for number, (network, subnets) in enumerate(SUBNETS.items()):
        world.annotate(f"{ANNOTATION}-{network}", subnets)
        node["metadata"]["annotations"][f"{ANNOTATION}-{network}"] = f"172.3{number}.0.0/16"
    for name, subnet in ((NODE, "172.23.0.0/16"), (OTHER, "172.33.0.0/16")):
        text = json.dumps({"ranges": [[{"subnet": subnet}]], "dataDir": world.path("data-annotated")})
        world.server.nodes[name]["metadata"]["annotations"][ANNOTATION] = text
    for whose, name in (("own", NODE), ("other", OTHER)):
        os.makedirs(world.path(whose))
        world.server.write_kubeconfig(world.path(f"{whose}/kubelet.conf"), "kubelet", name)
    os.makedirs(world.path(SMALL))
    if MAY_MOUNT:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "storm", world.path(SMALL)], check=True)


def test_storm(world: World) -> None:
    """No address is given twice, none is left after all were freed, no file is broken, every answer is JSON."""
    prepare(world)
    try:
        run(world)
    finally:
        if MAY_MOUNT:
            subprocess.run(["umount", world.path(SMALL)], check=True)


def run(world: World) -> None:
    """The test, with everything in place."""
    log = world.path("log")
    configs = [
        world.config(version="1.1.0", cacheSeconds=0.5),
        world.config("net1", annotation=f"{ANNOTATION}-net1", cacheSeconds=0.2),
        world.config("logged", annotation=f"{ANNOTATION}-logged", logfile=log, dataDir=world.path("data-logged")),
        world.config("small", annotation=f"{ANNOTATION}-small", dataDir=world.path(SMALL), cacheSeconds=1),
        world.annotated("annotated", ANNOTATION, cacheSeconds=1),
    ]
    storm = Storm(world)
    storm.swap("own")
    os.makedirs(world.cache, 0o700)
    workers = [threading.Thread(target=storm.work, args=(n, configs[n % len(configs)])) for n in range(WORKERS)]
    workers.append(threading.Thread(target=storm.weather))
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    wait_for_end(world.directory)
    for config, pod in list(storm.killed):  # a host-local that outlived its plugin may reserve after the first DEL
        storm.delete(config, pod)
    print(storm.counts)

    assert storm.troubles == []
    assert storm.counts["ADD"] > WORKERS
    assert storm.counts["refused"] < storm.counts["ADD"]
    for config in configs:
        assert world.leases(config["name"], os.path.dirname(store_of(config))) == []
    cache = Cache(world.cache)
    others = (".", "lock-", "code", "told:", "status:", "at:")  # no entries
    broken = [name for name, _age in cache.names() if not name.startswith(others) and cache.read(name) is None]
    assert broken == []
