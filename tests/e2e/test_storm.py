"""Many pods at once while everything breaks: processes killed, the cache deleted, the server restarted and slowed.

NODE_IPAM_STORM_SECONDS says for how long; the suite takes a short one.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import threading
import time
from contextlib import suppress

from plugin.cache import Cache
from tests.support.runtime import Config, Pod
from tests.support.world import World

SECONDS = float(os.environ.get("NODE_IPAM_STORM_SECONDS", "20"))
WORKERS = 16
ANNOTATION = "example.com/storm"


class Storm:
    """What the pods got, and what went wrong."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.ends = time.monotonic() + SECONDS
        self.lock = threading.Lock()
        self.owners: dict[tuple[str, str], Pod] = {}  # of (network, address)
        self.troubles: list[str] = []
        self.killed: list[tuple[Config, Pod]] = []
        self.counts = {"ADD": 0, "DEL": 0, "killed": 0, "refused": 0}

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
            else:
                self.add(config, pod)
            if dice.random() < 0.1:
                self.kill("DEL", config, pod, dice.random() * 0.05)
            self.delete(config, pod)

    def add(self, config: Config, pod: Pod) -> None:
        """ADD; an address that somebody else has is the worst of troubles."""
        answer = self.world.runtime.run("ADD", config, pod)
        self.count("ADD")
        try:
            document = answer.document()
        except ValueError as error:
            self.troubles.append(str(error))
            return
        if answer.status:
            self.count("refused")
            if document["code"] != 11:
                self.troubles.append(f"ADD: {document}")
            return
        with self.lock:
            for each in document["ips"]:
                other = self.owners.setdefault((config["name"], each["address"]), pod)
                if other != pod:
                    self.troubles.append(f"{each['address']} given to {pod.name} and {other.name}")

    def delete(self, config: Config, pod: Pod) -> None:
        """DEL, which must never fail."""
        with self.lock:
            self.owners = {address: owner for address, owner in self.owners.items() if owner != pod}
        answer = self.world.runtime.run("DEL", config, pod)
        self.count("DEL")
        if answer.status:
            self.troubles.append(f"DEL: {answer}")

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
        """Delete the cache, restart and slow the server, over and over."""
        dice = random.Random(0)
        server = self.world.server
        while time.monotonic() < self.ends:
            time.sleep(dice.random())
            what = dice.choice(("cache", "restart", "slow", "quick"))
            if what == "cache":
                shutil.rmtree(self.world.cache, ignore_errors=True)
            elif what == "restart":
                server.stop()
                time.sleep(dice.random())
                server.start()
            else:
                server.delay = 0.5 if what == "slow" else 0.0
        server.delay = 0.0


def test_storm(world: World) -> None:
    """No address is given twice, none is left after all were freed, no file is broken, every answer is JSON."""
    log = world.path("log")
    configs = [
        world.config(version="1.1.0", cacheSeconds=0.5),
        world.config("net1", annotation=ANNOTATION, cacheSeconds=0.2),
        world.config("logged", logfile=log, dataDir=world.path("data")),
    ]
    world.annotate(ANNOTATION, "172.20.0.0/16,fd00::2:0:0/96")
    storm = Storm(world)
    workers = [threading.Thread(target=storm.work, args=(n, configs[n % len(configs)])) for n in range(WORKERS)]
    workers.append(threading.Thread(target=storm.weather))
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for config, pod in storm.killed:  # a host-local that outlived its plugin may have reserved after the first DEL
        storm.delete(config, pod)
    print(storm.counts)

    assert storm.troubles == []
    assert storm.counts["ADD"] > WORKERS
    assert storm.counts["refused"] < storm.counts["ADD"]
    assert [world.leases(config["name"]) for config in configs] == [[], [], []]
    cache = Cache(world.cache)
    broken = [name for name, _age in cache.names() if not name.startswith((".", "lock-")) and cache.read(name) is None]
    assert broken == []
