"""The API servers of the bench, in a process of their own: python -m tests.bench.server FOLDER NODES."""

from __future__ import annotations

import json
import os
import sys

from plugin.node.identity import machine_id
from tests.support.apiserver import ApiServer, make_node

NODE = "vm-002"
POD_CIDRS = ("11.0.1.0/24", "1100:0:0:1::/64")
ANNOTATION = "example.com/ranges"


def main(folder: str, nodes: int) -> None:
    """Serve a cluster of one Node and one of many until stdin ends.

    Prints the paths of their kubeconfigs, as one JSON line, and for each line read how many GETs there were in all.
    """
    with ApiServer() as small, ApiServer() as large:
        paths = []
        for server, count in ((small, 1), (large, nodes)):
            others = (f"vm-{number:05}" for number in range(1, count))
            for node in (*map(make_node, others), make_node(NODE, POD_CIDRS, machine_id=machine_id())):
                server.add(node)
            place = os.path.join(folder, f"cluster-{count}")
            os.mkdir(place, 0o700)
            paths.append(server.write_kubeconfig(os.path.join(place, "kubelet.conf"), "kubelet", NODE))
        print(json.dumps(paths), flush=True)
        for line in sys.stdin:
            name, _, text = line.rstrip("\n").partition("=")
            if name:
                small.nodes[NODE]["metadata"]["annotations"][name] = text
            print(small.count() + large.count(), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
