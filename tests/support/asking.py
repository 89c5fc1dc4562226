"""Ask a test API server for its Node a, with a kubeconfig made for the occasion."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from plugin import deadline
from plugin.errors import CniError
from plugin.kube import client
from tests.support import makeconfig
from tests.support.apiserver import ApiServer
from tests.support.pki import Authority

AUTHORITY = Authority()
ROOTS = Authority("roots")
NAMES = ("127.0.0.1", "::1", "kubernetes")

Kubeconfig = dict[str, Any]
Change = Callable[[Kubeconfig], None]


def cluster(**keys: Any) -> Change:
    """Change keys of the kubeconfig's cluster: under_score for hy-phen, None to remove one."""

    def change(config: Kubeconfig) -> None:
        entry = config["clusters"][0]["cluster"]
        entry.update({key.replace("_", "-"): value for key, value in keys.items()})
        for key in [key for key, value in entry.items() if value is None]:
            del entry[key]

    return change


def connect(server: ApiServer, folder: Path, *changes: Change, kind: str = "token", **environ: str) -> client.Client:
    """A client with a kubeconfig for this server, changed so."""
    return client.connect(write_kubeconfig(server, folder, *changes, kind=kind), environ)


def write_kubeconfig(server: ApiServer, folder: Path, *changes: Change, kind: str = "token") -> str:
    """The path of a new kubeconfig for this server, changed so."""
    config = server.kubeconfig(kind, "a", directory=str(folder))
    for change in changes:
        change(config)
    return makeconfig.write(str(folder), "kubeconfig", json.dumps(config).encode())


def refusal(made: client.Client, seconds: float = 15) -> CniError:
    """The error that asking for Node a gives, in good time before the deadline."""
    with deadline.within(seconds), pytest.raises(CniError) as error:
        made.get_node("a")
    assert "<" not in error.value.msg + error.value.details, "a repr of an object"
    return error.value


def trusting(pem: bytes) -> Change:
    """Trust this instead of the server's own authority."""
    return cluster(certificate_authority_data=makeconfig.base64_text(pem))


INSECURE = cluster(certificate_authority_data=None, insecure_skip_tls_verify=True)
