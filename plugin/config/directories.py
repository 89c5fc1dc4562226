"""Find paths in directories of the system and of pods: a configuration must not make root write there."""

from __future__ import annotations

import os

from plugin.config import trust

# https://refspecs.linuxfoundation.org/fhs.shtml, and what a node's own programs keep below /var and /run.
_SYSTEM = (
    *("/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/libx32", "/opt/cni", "/proc", "/root", "/sbin"),
    *("/snap", "/sys", "/usr", "/var/backups", "/var/mail", "/var/spool"),
    *(f"/var/lib/{name}" for name in ("apt", "cloud", "containerd", "containers", "crio", "dbus", "docker", "dpkg")),
    *(f"/var/lib/{name}" for name in ("etcd", "k0s", "kubelet", "private", "rancher", "rpm", "systemd", "ucf")),
    *(f"/run/{name}" for name in ("containerd", "crio", "dbus", "docker", "k3s", "k0s", "netns", "systemd", "udev")),
)


def fault(path: str) -> str:
    """Return why root must not write at this path for a configuration; "" if it may."""
    for place in (os.path.normpath(path), os.path.realpath(path)):
        place = f"/{place.lstrip('/')}"
        system = next((each for each in _SYSTEM if f"{place}/".startswith(f"{each}/")), "")
        if system or place == "/":
            return f"in the system directory {system or place}"
        if trust.is_pods(f"{place}/"):
            return "in a directory into which pods write"
    return ""
