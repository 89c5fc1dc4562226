"""What the checks look at, and what they have found for the checks after them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from plugin import TYPES, node_annotation, verbs
from plugin.addresses.spans import Span
from plugin.cni import Request
from plugin.config.settings import Settings
from plugin.errors import CniError, Unreachable
from plugin.facts import Facts
from plugin.leases import hostlocal
from plugin.leases.evidence.verdict import Evidence
from plugin.log import Log
from plugin.ops.doctor.finding import Finding
from plugin.ops.install import archive
from plugin.ops.leases import stores
from plugin.ops.leases.stores import Store
from plugin.ops.leases.usage import Usage
from plugin.ops.networks import known_ranges
from plugin.ops.networks.configurations import Network
from plugin.ops.networks.known_ranges import Known
from plugin.ops.networks.overlay import Overlay
from plugin.ops.ranges.values import Value
from plugin.plan import Plan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from plugin.kube.client import Client
    from plugin.kube.kubeconfig import Kubeconfig
    from plugin.plan import Type


@dataclass
class Machine:
    """What concerns all networks.

    environ: the variables that count; ignored: those of this shell that do not. wanted: the networks to check, chosen:
    every plugin of their lists, source: where they were found; others: every plugin in the directory of configurations.
    """

    environ: Mapping[str, str]
    ignored: Mapping[str, str]
    is_root: bool
    wanted: Sequence[Network]
    chosen: Sequence[Network]
    others: Sequence[Network]
    troubles: Sequence[CniError]
    evidence: Evidence  # on leases
    source: str
    interpreter: str = ""  # the one in the first line of the installed file
    host_local: str = ""  # its path
    host_local_works: bool = False
    unreachable: dict[tuple[str, str], Unreachable] = field(default_factory=dict)  # by kubeconfig and server
    ranges: dict[str, tuple[str, list[Span]]] = field(default_factory=dict)  # store -> network and ranges found so far
    nodes: dict[tuple[str, str], dict[str, list[tuple[str, Value]]] | Finding] = field(default_factory=dict)  # the same
    known: dict[tuple[object, ...], Known] = field(default_factory=dict)  # ranges of others, see Context.known_of()

    @cached_property
    def data_dirs(self) -> list[str]:
        """The data directories known on this machine."""
        return stores.data_dirs(self.others, self.environ)

    @property
    def folders(self) -> list[str]:
        """The directories where the runtime looks for plugins."""
        return [folder for folder in self.environ["CNI_PATH"].split(os.pathsep) if folder]

    def folder(self) -> str:
        """Return the directory that has our plugins, or should have."""
        names = (archive.FILE, *archive.LINKS)
        have = [each for each in self.folders if any(os.path.lexists(os.path.join(each, name)) for name in names)]
        return (have or self.folders or [""])[0]


class Context:
    """What concerns one network; filled in by the checks, in their order."""

    def __init__(self, machine: Machine, network: Network) -> None:
        self.machine = machine
        self.network = network
        self.environ = machine.environ
        self.log = CollectedWarnings()
        self.request: Request
        self.plugin: Type
        self.settings: Settings
        self.overlay: Overlay
        self.next_plugin = ""
        self.kubeconfig: Kubeconfig
        self.client: Client
        self.refusal: CniError | None = None  # the server's answer in place of a Node
        self.is_away = False  # the server is unreachable
        self.facts: Facts | None = None
        self.plan: Plan | None = None
        self.spans: list[Span] = []

    def prepare(self) -> None:
        """Read the configuration as the plugin does in the runtime, without changing its cache. Raises CniError."""
        # STATUS is about all ranges, whatever the pod's namespace.
        self.request, self.settings = known_ranges.runtime_request(self.network, "STATUS", self.environ)
        self.environ = self.request.environ
        self.plugin = verbs.type_of(self.request)
        self.settings.cache = self.overlay = Overlay(self.settings.cache)
        self.settings.log = self.log

    def other_plugins(self) -> list[str]:
        """Return the types of the plugins in this network's list, without ours."""
        this = (self.network.source, self.network.name)
        types = [each.config.get("type") for each in self.machine.chosen if (each.source, each.name) == this]
        return list(dict.fromkeys(str(each) for each in types if each and each not in TYPES))

    def usage(self, data_dir: str) -> Usage:
        """Return the leases of this network below a data directory."""
        return Usage(Store(data_dir, self.network.name), self.machine.evidence, known_ranges.Known())

    def known_of(self, at: int) -> Known:
        """Return the ranges of machine.others[at], by the Node that was just read, or else as they are cached."""
        machine = self.machine
        # Networks with the same kubeconfig and nodeName have the same Node, if it was read.
        key = (at, self.settings.kubeconfig, self.settings.node_name, self.facts is None)
        if key not in machine.known:
            machine.known[key] = known_ranges.of_network(machine.others[at], machine.environ, self.overlay)
        return machine.known[key]

    @property
    def uses_host_local(self) -> bool:
        """Whether host-local allocates for this network."""
        return hostlocal.is_host_local(self.next_plugin)

    @property
    def pinned_file(self) -> str:
        """The file whose ranges are used in place of the Node's; empty if there is none."""
        return known_ranges.pinned_file(self.network)

    @property
    def data_dir(self) -> str:
        """The directory that the next ADD gives to host-local; empty if that is unknown."""
        if self.plan:
            return str(self.plan.config["ipam"].get("dataDir") or hostlocal.DATA_DIR)
        if self.network.type == node_annotation.NAME:
            return ""  # the annotation has it
        return str(self.network.ipam.get("dataDir") or hostlocal.DATA_DIR)

    @property
    def store(self) -> str:
        """Where the leases of this network are, or will be; empty if that is unknown."""
        return hostlocal.store(self.data_dir, self.network.name) if self.data_dir else ""


class CollectedWarnings(Log):
    """A log that keeps its warnings for a check."""

    def __init__(self) -> None:
        super().__init__()
        self.warnings: list[str] = []

    def warning(self, msg: str, **_fields: object) -> None:
        """Keep a warning."""
        self.warnings.append(msg)
