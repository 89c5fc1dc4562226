"""Kubeconfigs for the test API server, as text that needs no YAML package to write."""

from __future__ import annotations

import base64
import json
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.support.apiserver import ApiServer


def make(
    server: ApiServer, kind: str = "token", user: str = "node-ipam", groups: tuple[str, ...] = (), directory: str = ""
) -> dict[str, Any]:
    """A kubeconfig for this server, to be changed and written.

    kind: token, certificate (as data), none; and with files put into directory: token-file, and kubelet, for which
    user is the name of the Node: one PEM file with certificate and key, as the kubelet keeps it.
    """
    entry: dict[str, str] = {}
    if kind == "token":
        entry = {"token": server.token(user)}
    elif kind == "token-file":
        entry = {"tokenFile": write(directory, "token", server.token(user).encode() + b"\n")}
    elif kind == "certificate":
        pair = server.client_authority.client(user, groups)
        entry = {"client-certificate-data": base64_text(pair.certificate), "client-key-data": base64_text(pair.key)}
    elif kind == "kubelet":
        user = f"system:node:{user}"
        pair = server.client_authority.client(user, ("system:nodes",))
        path = write(directory, "kubelet-client-current.pem", pair.certificate + pair.key)
        entry = {"client-certificate": path, "client-key": path}
    elif kind != "none":
        raise ValueError(kind)
    cluster = {"server": server.url, "certificate-authority-data": base64_text(server.authority.ca_pem)}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "local", "cluster": cluster}],
        "users": [{"name": user, "user": entry}],
        "contexts": [{"name": "node", "context": {"cluster": "local", "user": user}}],
        "current-context": "node",
    }


def write(directory: str, name: str, data: bytes) -> str:
    """Write a file that only its owner may read, and return its path."""
    path = os.path.join(directory, name)
    with open(path, "wb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.write(data)
    return path


def as_yaml(value: object, indent: str = "") -> str:
    """Block-style YAML as kubeadm writes it: sequences not indented; every string in double quotes."""
    if isinstance(value, dict) and value:
        return "".join(f"{indent}{key}:{_below(each, indent)}" for key, each in value.items())
    if isinstance(value, list) and value:
        return "".join(f"{indent}- {as_yaml(each, indent + '  ').lstrip(' ')}" for each in value)
    return f"{indent}{json.dumps(value)}\n"


def _below(value: object, indent: str) -> str:
    if isinstance(value, dict) and value:
        return "\n" + as_yaml(value, indent + "  ")
    return "\n" + as_yaml(value, indent) if isinstance(value, list) and value else f" {json.dumps(value)}\n"


def base64_text(data: bytes) -> str:
    """Bytes as the *-data keys hold them."""
    return base64.b64encode(data).decode()
