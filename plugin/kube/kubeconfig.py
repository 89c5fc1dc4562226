"""Find the kubeconfig and read the one cluster and user it selects, as client-go does."""

from __future__ import annotations

import os

from plugin.errors import DECODE_FAILURE, IO_FAILURE, CniError
from plugin.kube import address, document, files, pem, places, rules, schema

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from plugin.cache import Cache

    Entry = tuple[str, dict[str, Any]]

_NOTHING = "no configuration has been provided"
_CORRECT = "correct the file; kubectl --kubeconfig FILE config view shows what it holds"


class Kubeconfig:
    """What one kubeconfig selects: a server, how to trust it, and the entry that says who we are.

    files: the files read, in order. path: the file with the user entry, for messages.
    why: the reason for these files: "ipam.kubeconfig", "$KUBECONFIG", "the kubelet's own", ...
    server: https://HOST[:PORT][/PREFIX] (or http), fit for requests: no userinfo, query or trailing slash.
    passed_over: the places looked at before, and what is there instead.
    ca: PEM; b"" means the system's roots. impersonate: headers, a name may come more than once.
    cluster, user: the entries with their types checked, null and unknown keys gone, *-data decoded to
    bytes and relative paths made absolute.
    """

    def __init__(self, files: list[str], why: str, path: str, cluster: Entry, user: Entry) -> None:
        self.files = files
        self.why = why
        self.path = path
        self.cluster_name, self.cluster = cluster
        self.user_name, self.user = user
        self.server: str = self.cluster.get("server", "")
        self.tls_server_name: str = self.cluster.get("tls-server-name", "")
        self.insecure: bool = self.cluster.get("insecure-skip-tls-verify", False)
        self.proxy_url: str = self.cluster.get("proxy-url", "")
        self.ca = b""
        self.impersonate: list[tuple[str, str]] = []
        self.passed_over: list[str] = []


def find(
    explicit: str,
    environ: Mapping[str, str],
    label: str = "ipam.kubeconfig",
    *,
    as_kubectl: bool = False,
    cache: Cache | None = None,
) -> Kubeconfig:
    """Find and read the kubeconfig. explicit: a path from the configuration (label: which key), "" for none.

    as_kubectl: not the kubelet's, but the one that kubectl would read. cache: see kubelet.kubeconfig().
    Half-written files are read again for up to a second. Raises CniError; no message holds a secret.
    """

    def attempt() -> Kubeconfig:
        usual = places.of_user(environ) if as_kubectl else places.of_node(environ, cache)
        tried = _Tried()
        paths, why = places.search(explicit, environ, label, usual, tried.fault)
        found = _in_cluster(paths, environ) if why == places.IN_CLUSTER else _merged(paths, why, tried.loaded)
        found.passed_over = tried.passed_over
        return _checked(found)

    return files.settled(attempt)


class _Tried:
    """The usual places that were tried. loaded: what was read there. passed_over: which have no kubeconfig, and why."""

    def __init__(self) -> None:
        self.loaded: dict[str, schema.Entries] = {}
        self.passed_over: list[str] = []

    def fault(self, path: str) -> str:
        """Return why there is no kubeconfig, "" if there is. Raises CniError if it cannot be read."""
        fault = places.state(path) or ("a directory" if os.path.isdir(path) else self._load(path))
        if fault:
            self.passed_over.append(f"{path}: {fault}")
        return fault

    def _load(self, path: str) -> str:
        try:
            found = self.loaded[path] = _load(path)
            if not found.is_empty:
                return ""
            fault = OtherFile(f'error loading config file "{path}": nothing in it', _CORRECT)
        except OtherFile as error:
            fault = error
        if files.is_recent(path):  # perhaps half-written
            raise fault
        return f"not a kubeconfig ({fault.msg.partition(': ')[2]})"


class OtherFile(files.Unsettled):
    """A file does not hold a kubeconfig."""


def _in_cluster(paths: list[str], environ: Mapping[str, str]) -> Kubeconfig:
    server = f"https://[{environ['KUBERNETES_SERVICE_HOST']}]:{environ['KUBERNETES_SERVICE_PORT']}"
    cluster, name = {"server": server, "certificate-authority": paths[1]}, "in-cluster"
    return Kubeconfig(paths, places.IN_CLUSTER, paths[0], (name, cluster), (name, {"tokenFile": paths[0]}))


def _merged(paths: list[str], why: str, known: Mapping[str, schema.Entries]) -> Kubeconfig:
    """Merge files as client-go does: the first entry of a name counts, and the first current-context."""
    loaded = {path: known.get(path) or _load(path) for path in paths}
    current = next(filter(None, (entries.current for entries in loaded.values())), "")
    _, context = _first(loaded, "contexts", current)
    if context is None:
        if current:
            raise _unusable(paths, f"context was not found for specified context: {current}")
        raise _unusable(paths, _NOTHING, "there is no current-context")
    name = context.get("cluster", "")
    _, cluster = _first(loaded, "clusters", name)
    if cluster is None:
        raise _unusable(paths, _NOTHING, f'context "{current}" names a cluster "{name}" that is not there')
    user_name = context.get("user", "")
    # A user that is not there means anonymous.
    path, user = _first(loaded, "users", user_name)
    return Kubeconfig(paths, why, path or paths[0], (name, cluster), (user_name, user or {}))


def _first(loaded: Mapping[str, schema.Entries], kind: str, name: str) -> tuple[str, dict[str, Any] | None]:
    """Return the file that has the first entry of this kind and name, and the entry; "" and None if none has."""
    for path, entries in loaded.items():
        if name in entries.sections[kind]:
            return path, entries.sections[kind][name]
    return "", None


def _load(path: str) -> schema.Entries:
    said = f'error loading config file "{path}": '
    try:
        return schema.Entries(document.decode(files.read(path)), os.path.dirname(os.path.abspath(path)))
    except FileNotFoundError as error:
        raise files.Unsettled(said + files.failed(path, error), "it was there a moment ago", IO_FAILURE) from None
    except OSError as error:
        raise CniError(IO_FAILURE, said + files.failed(path, error), files.needed(error)) from None
    except document.Undecodable as error:
        raise OtherFile(said + str(error), "it must be YAML or JSON", DECODE_FAILURE) from None
    except schema.OtherKind as error:
        raise OtherFile(said + str(error), _CORRECT) from None
    except ValueError as error:
        raise files.Unsettled(f"{said}{error}", _CORRECT) from None


def _checked(config: Kubeconfig) -> Kubeconfig:
    """Check the two entries, and fill in what is derived from them."""
    faults = rules.user_faults(config.user_name, config.user)
    faults += rules.cluster_faults(config.cluster_name, config.cluster)
    hint = _CORRECT
    try:
        if config.server:
            config.server = address.normalised(config.server)
        if not config.server.startswith("http://"):  # over which nothing of the user entry goes
            config.impersonate = rules.impersonation(config.user)
    except address.BadAddress as error:
        faults.append(f'the server of cluster "{config.cluster_name}" is not an address: {error}')
        hint = error.hint
    except ValueError as error:
        faults.append(str(error))
    if faults:
        raise _unusable(config.files, faults[0] if len(faults) == 1 else f"[{', '.join(faults)}]", hint)
    config.ca = _authorities(config)
    return config


def _authorities(config: Kubeconfig) -> bytes:
    path: str = config.cluster.get("certificate-authority", "")
    found: bytes = config.cluster.get("certificate-authority-data", b"")
    if path:
        found = files.referenced(path, "certificate-authority", config.cluster_name)
    # Also for an empty file: client-go then uses the system's trust store, so that public CAs are trusted by accident.
    if (path or found) and not pem.body(found, "CERTIFICATE"):
        what = "unable to load root certificates: unable to parse bytes as PEM block"
        raise _unusable(config.files, what, f"see certificate-authority{' ' + path if path else '-data'}")
    return found


def _unusable(paths: list[str], what: str, hint: str = _CORRECT) -> files.Unsettled:
    return files.Unsettled(f"kubeconfig {':'.join(paths)}: invalid configuration: {what}", hint)
