"""What the checks look at, and what they have found out for those that come after them."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from plugin import hostlocal, kube_node, verbs
from plugin.log import Log
from plugin.ops.install import archive
from plugin.ops.networks import known_ranges, networks
from plugin.ops.networks.overlay import Overlay

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from plugin.cni import Request
    from plugin.errors import CniError
    from plugin.evidence.verdict import Evidence
    from plugin.facts import Facts
    from plugin.kube.client import Client
    from plugin.kube.kubeconfig import Kubeconfig
    from plugin.ops.networks.networks import Network
    from plugin.plan import Plan, Type
    from plugin.settings import Settings
    from plugin.spans import Span


@dataclass
class Machine:
    """What concerns all networks. wanted: those to look at; source: where they were looked for."""

    bin_dirs: str
    environ: Mapping[str, str]
    wanted: Sequence[Network]
    others: Sequence[Network]
    troubles: Sequence[CniError]
    attached: Evidence
    source: str
    interpreter: str = ""  # the one in the first line of the installed file
    byte_code: bytes = b""  # of one of its modules
    ranges: dict[str, tuple[str, list[Span]]] = field(default_factory=dict)  # store -> network and ranges found so far

    def folder(self) -> str:
        """The directory of plugins that has ours, or should have."""
        folders = [folder for folder in self.bin_dirs.split(os.pathsep) if folder]
        names = (archive.FILE, *archive.LINKS)
        there = [folder for folder in folders if any(os.path.lexists(os.path.join(folder, name)) for name in names)]
        return (there or folders or [""])[0]


class Context:
    """What concerns one network; filled in by the checks, in their order."""

    def __init__(self, machine: Machine, network: Network) -> None:
        self.machine = machine
        self.network = network
        self.environ = machine.environ
        self.heard = Heard()
        self.request: Request
        self.plugin: Type
        self.settings: Settings
        self.kubeconfig: Kubeconfig
        self.client: Client
        self.refusal: CniError | None = None  # what the server said in place of a Node
        self.is_away = False  # the server gives no answer
        self.facts: Facts | None = None
        self.plan: Plan | None = None
        self.spans: list[Span] = []

    def prepare(self) -> None:
        """Read the configuration as the plugin does, for all ranges, leaving its cache alone. Raises CniError."""
        self.request = networks.request(self.network, "STATUS", self.environ, self.machine.bin_dirs)
        self.plugin = verbs.type_of(self.request)
        self.settings = self.plugin.setup(self.request)
        self.settings.cache = Overlay(self.settings.cache)
        self.settings.log = self.heard

    @property
    def pinned_file(self) -> str:
        """The file by which an operator says the ranges himself; empty where there is none."""
        path = known_ranges.pinned_file(self.network)
        return path if self.network.type == kube_node.NAME and os.path.exists(path) else ""

    @property
    def store(self) -> str:
        """Where the leases of this network are, or will be."""
        data_dir = str(self.plan.config["ipam"].get("dataDir") or "") if self.plan else ""
        return hostlocal.store(data_dir or str(self.network.ipam.get("dataDir") or ""), self.network.name)


class Heard(Log):
    """A log that keeps its warnings for the one who asks."""

    def __init__(self) -> None:
        super().__init__()
        self.warnings: list[str] = []

    def warning(self, msg: str, **_fields: object) -> None:
        """Something is wrong, the request goes on."""
        self.warnings.append(msg)
