"""A node for a test: an API server that knows it, a kubelet's kubeconfig, and a runtime that calls the plugins."""

from __future__ import annotations

import json
import os
import time
from typing import Any

from plugin.node.identity import machine_id
from tests.support.apiserver import ApiServer
from tests.support.dist import DIST
from tests.support.nodes import make_node
from tests.support.parts import host_local
from tests.support.rules import node_authorizer
from tests.support.runtime import Answer, Config, Pod, Runtime

NODE = "vm-002"
PODCIDRS = ("11.0.1.0/24", "1100:0:0:1::/64")


class World:
    """One node; everything that it and its plugins keep is in one directory."""

    def __init__(self, directory: str, server: ApiServer) -> None:
        self.directory = directory
        self.server = server
        self.node = server.add(make_node(NODE, PODCIDRS, machine_id=machine_id()))
        server.rule = node_authorizer
        self.kubeconfig = server.write_kubeconfig(self.path("kubelet.conf"), "kubelet", NODE)
        self.cache = os.path.join(directory, "cache")
        self.runtime = Runtime([DIST, host_local()], {"NODE_IPAM_CACHE": self.cache, "PATH": os.environ["PATH"]})

    def config(self, network: str = "k8snet", *, version: str = "1.0.0", **ipam: Any) -> Config:
        """A network configuration of type kube-node; dataDir and kubeconfig are set unless ipam says otherwise."""
        keys = {"type": "kube-node", "kubeconfig": self.kubeconfig, "dataDir": self.path("data"), **ipam}
        return {
            "cniVersion": version,
            "name": network,
            "isDefaultGateway": True,
            "ipam": {key: value for key, value in keys.items() if value is not None},
        }

    def annotated(self, network: str, annotation: str, *, version: str = "1.0.0", **settings: Any) -> Config:
        """A network of type node-annotation; its configuration file holds these settings, and the kubeconfig."""
        keys = {"kubeconfig": self.kubeconfig, **settings}
        self.write("node-annotation.conf", json.dumps({key: value for key, value in keys.items() if value is not None}))
        self.runtime.environ["NODE_ANNOTATION_CFG"] = self.path("node-annotation.conf")
        return {"cniVersion": version, "name": network, "ipam": {"type": "node-annotation", "annotation": annotation}}

    def annotate(self, name: str, value: str | None) -> None:
        """Set an annotation of the Node; None removes it."""
        annotations = self.node["metadata"]["annotations"]
        annotations.pop(name, None)
        if value is not None:
            annotations[name] = value

    def add(self, config: Config, pod: str = "web-0", namespace: str = "default", **environ: str) -> Answer:
        """Run ADD for a pod."""
        return self.runtime.run("ADD", config, Pod(pod, namespace), **environ)

    def addresses(self, config: Config, pod: str = "web-0", namespace: str = "default", **environ: str) -> list[str]:
        """Run an ADD and return its addresses; fail if it fails."""
        answer = self.add(config, pod, namespace, **environ)
        assert answer.status == 0, answer
        return [each["address"] for each in answer.document()["ips"]]

    def delete(self, config: Config, pod: str = "web-0", namespace: str = "default", **environ: str) -> Answer:
        """Run DEL for a pod."""
        return self.runtime.run("DEL", config, Pod(pod, namespace), **environ)

    def leases(self, network: str = "k8snet", data: str = "data") -> list[str]:
        """Return the addresses of all leases in a store."""
        try:
            names = os.listdir(os.path.join(self.path(data), network))
        except FileNotFoundError:
            return []
        return sorted(name for name in names if "." in name and "_" not in name or ":" in name)

    def age(self, seconds: float) -> None:
        """Make all facts in the cache this much older."""
        for name in os.listdir(self.cache):
            if name.startswith("warm-"):
                os.unlink(os.path.join(self.cache, name))
            elif name.startswith(("node-", "away-")):
                self._age_entry(name, seconds)

    def _age_entry(self, name: str, seconds: float) -> None:
        from plugin.cache import Cache

        cache = Cache(self.cache)
        entry = json.loads(cache.read(name) or b"{}")
        entry["entry"]["asked"] = time.time() - seconds
        cache.write(name, json.dumps(entry).encode())

    def path(self, name: str) -> str:
        """Return a path in this node's directory."""
        return os.path.join(self.directory, name)

    def write(self, name: str, text: str) -> str:
        """Write a file in this node's directory; return its path."""
        path = self.path(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path
