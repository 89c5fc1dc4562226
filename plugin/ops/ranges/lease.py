"""The Lease of `ranges assign`: which process assigns, and which blocks it is about to write.

Fields and rules are those of client-go's tools/leaderelection. A process takes the Lease over when its record has not
changed for leaseDurationSeconds by the process's own clock. Every write carries the resourceVersion of the Lease.

Time alone does not keep two processes apart: a process that was stopped can send a patch after it lost the Lease. So
each block is claimed, in an annotation of the Lease, before it is written to a Node:

1. A claim by an overtaken process fails, because the Lease has another resourceVersion.
2. A patch that was claimed but arrives late fails or is harmless. The new holder reads the claims, then all Nodes, and
   first writes each block that is claimed but missing. The Node then has a newer resourceVersion than the late patch,
   which holds the one read before the claim: the API server refuses the patch (409). If the late patch arrives before
   that, it writes what was claimed for this Node, and no other Node gets this block.
3. After a 409, the Node is read again and the block is claimed again before the next patch.

A claim is dropped only after its Node was seen with another resourceVersion, with another value, or deleted. Two cases
are not covered: a value written by hand at the same moment, which `ranges show` finds; and a Lease that is deleted
while a process is stopped.
"""

from __future__ import annotations

import datetime
import json
import os
import time
import uuid
from typing import Any, Optional

from plugin.errors import PLUGIN_FAILURE, CniError
from plugin.kube.answers import Transient
from plugin.kube.session import Conflict, Missing, Session
from plugin.ops.ranges.rbac import LEASE_NAMESPACE, NAME, lease

Change = tuple[Optional[str], str]  # of an annotation: the value it must have, None for none; the new value
Claims = dict[str, dict[str, Change]]  # node -> annotation -> change

DURATION = 15.0  # seconds; another process then takes the Lease over
RETRY_PERIOD = DURATION * 2 / 15  # seconds; these ratios are client-go's defaults
_RENEW_DEADLINE = DURATION * 2 / 3
_RELEASE = 2.0  # seconds for an answer when the process ends
_CLAIMS = "kube-node.nordix.org/claims"
_COLLECTION = f"/apis/coordination.k8s.io/v1/namespaces/{LEASE_NAMESPACE}/leases"
_PATH = f"{_COLLECTION}/{NAME}"
_TIMES = "%Y-%m-%dT%H:%M:%S.%fZ"
# Unlike Linux's monotonic clock, it also counts while the machine is suspended.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Overtaken(CniError):
    """Another process holds the Lease now, or could have taken it."""


class Lease:
    """The Lease as one process sees it. claims: its changes that are claimed and not yet known to be written."""

    def __init__(self, session: Session) -> None:
        self.identity = f"{os.uname().nodename}_{uuid.uuid4()}"
        self.claims: Claims = {}
        self._session = session
        self._stored: dict[str, Any] = {}
        # The record of another holder, and since when it is unchanged.
        self._observed: tuple[object, float] = (None, 0.0)
        self._renewed = 0.0
        self.is_held = False  # as far as this process knows

    @property
    def holder(self) -> str:
        """The identity of the holder, as last read; empty if there is none."""
        return str(self._spec.get("holderIdentity") or "")

    def acquire(self) -> bool:
        """Try once to take the Lease; claims are then those of an earlier holder. Raises CniError."""
        try:
            self._stored = self._session.get(_PATH)
            if self.holder and not self._has_expired():
                return False
            transitions = int(self._spec.get("leaseTransitions") or 0) + 1
        except Missing:
            self._stored, transitions = lease(), 0
        self.claims = _decoded(self._stored)
        try:
            self._write(**self._ours(), acquireTime=_now(), leaseTransitions=transitions)
        except (Conflict, Missing):
            return False
        self.is_held = True
        return True

    def claim(self, claims: Claims) -> None:
        """Record these claims in place of the earlier ones, and renew the Lease. Raises Overtaken, another CniError."""
        self.claims = claims
        self._renew()

    def renew(self) -> None:
        """Renew the Lease if that is due: call this before each write. Raises Overtaken, another CniError."""
        if _clock() - self._renewed >= RETRY_PERIOD:
            self._renew()

    def release(self) -> None:
        """Let another process take the Lease at once, with the claims that are left. Raises nothing."""
        if not self.is_held:
            return
        self._session.close()  # SIGTERM may have interrupted a request
        self._session.seconds = _RELEASE
        try:
            self._renew(holderIdentity="", leaseDurationSeconds=1)
        except CniError:
            pass  # it expires
        self.is_held = False

    def _renew(self, **changes: object) -> None:
        while True:
            try:
                self._write(**{**self._ours(), **changes})
                return
            except (Conflict, Missing):
                self._check_holder()
            except Transient as failure:
                if _clock() - self._renewed > _RENEW_DEADLINE:
                    raise self._overtaken(failure.msg) from None
                time.sleep(min(RETRY_PERIOD, 1.0))

    def _check_holder(self) -> None:
        """Raise Overtaken unless this process still holds the Lease: its own write or a new label can conflict, too."""
        transitions = self._spec.get("leaseTransitions")
        try:
            self._stored = self._session.get(_PATH)
        except Missing:
            raise self._overtaken("it was deleted") from None
        if self.holder != self.identity or self._spec.get("leaseTransitions") != transitions:
            raise self._overtaken(f"{self.holder or 'another process'} has taken it over")

    def _overtaken(self, why: str) -> Overtaken:
        self.is_held = False
        what = f"lost the Lease {LEASE_NAMESPACE}/{NAME}: {why}"
        return Overtaken(PLUGIN_FAILURE, what, "no block was given twice; run the command again")

    def _has_expired(self) -> bool:
        """Return whether the record of the other holder has not changed for its leaseDurationSeconds."""
        record = json.dumps(self._spec, sort_keys=True)
        if record != self._observed[0]:
            self._observed = (record, _clock())
        return _clock() - self._observed[1] > float(self._spec.get("leaseDurationSeconds") or 0)

    def _ours(self) -> dict[str, object]:
        return {"holderIdentity": self.identity, "leaseDurationSeconds": round(DURATION)}

    def _write(self, **changes: object) -> None:
        sent = _clock()
        metadata = dict(self._stored["metadata"])
        metadata["annotations"] = {**(metadata.get("annotations") or {}), _CLAIMS: json.dumps(self.claims)}
        value = {**self._stored, "metadata": metadata, "spec": {**self._spec, **changes, "renewTime": _now()}}
        if "resourceVersion" in metadata:
            self._stored = self._session.put(_PATH, value)
        else:
            self._stored = self._session.post(_COLLECTION, value)
        self._renewed = sent

    @property
    def _spec(self) -> dict[str, Any]:
        return self._stored.get("spec") or {}


def _decoded(stored: dict[str, Any]) -> Claims:
    """Return the claims in a Lease; none if they cannot be read."""
    text = ((stored.get("metadata") or {}).get("annotations") or {}).get(_CLAIMS) or "{}"
    try:
        found = json.loads(text)
        return {
            node: {name: (old, str(new)) for name, (old, new) in changes.items()} for node, changes in found.items()
        }
    except (ValueError, TypeError, AttributeError):
        return {}


def _clock() -> float:
    return time.clock_gettime(_CLOCK)


def _now() -> str:
    return datetime.datetime.now(datetime.timezone.utc).strftime(_TIMES)
