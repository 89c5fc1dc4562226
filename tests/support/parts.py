"""Programs from elsewhere: the reference plugins, and the Pythons on this machine."""

from __future__ import annotations

import glob
import os
import re
import shutil
import subprocess
import tempfile

BUILD = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), "build")
PLACES = ("/opt/cni/bin", "/usr/lib/cni", "/usr/libexec/cni")
PACKAGE = "containernetworking-plugins"
_FETCHED = os.path.join(BUILD, "cni")
_DESCRIBE = "import sys; print(sys.implementation.name, '%d.%d' % sys.version_info[:2], sys.executable)"


class PartMissing(Exception):
    """A program is missing and cannot be fetched; the text says what to install."""


def host_local() -> str:
    """The directory with host-local and its like: an installed one, or Debian's package unpacked in build/cni.

    Raises PartMissing.
    """
    for place in (*os.environ.get("CNI_PATH", "").split(":"), *PLACES):
        if place and os.access(os.path.join(place, "host-local"), os.X_OK):
            return place
    place = os.path.join(_FETCHED, "usr", "lib", "cni")
    if not os.path.exists(os.path.join(place, "host-local")):
        if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
            raise PartMissing(f"host-local is missing: install the CNI reference plugins ({PACKAGE}) or set CNI_PATH")
        _unpack(_FETCHED)
    return place


def _unpack(target: str) -> None:
    """Fetch the package without root and unpack it; the system is not changed."""
    os.makedirs(BUILD, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=BUILD, prefix="apt-") as folder:
        failure = _apt(folder, {}, "download", PACKAGE)
        if failure:  # the system has no package lists: fetch some of our own
            os.makedirs(os.path.join(folder, "lists", "partial"))
            os.makedirs(os.path.join(folder, "cache", "archives", "partial"))
            private = {"State": folder, "State::lists": f"{folder}/lists", "Cache": f"{folder}/cache"}
            private["State::status"] = "/var/lib/dpkg/status"
            failure = _apt(folder, private, "update") or _apt(folder, private, "download", PACKAGE)
        if failure:
            raise PartMissing(f"host-local is missing (package {PACKAGE}) and apt-get cannot fetch it: {failure}")
        (package,) = glob.glob(os.path.join(glob.escape(folder), "*.deb"))
        unpacked = os.path.join(folder, "unpacked")
        subprocess.run(["dpkg-deb", "-x", package, unpacked], check=True)
        shutil.rmtree(target, ignore_errors=True)
        os.rename(unpacked, target)


def _apt(folder: str, directories: dict[str, str], *arguments: str) -> str:
    """Run apt-get in a folder; what it says when it fails, otherwise nothing."""
    options = [f"-oDir::{key}={value}" for key, value in directories.items()]
    # Root's apt-get hands downloads to a user who cannot write here.
    command = ["apt-get", "-qq", "-oAPT::Sandbox::User=root", "-oAPT::Update::Error-Mode=any", *options, *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return (done.stderr.strip().splitlines() or ["for no stated reason"])[-1] if done.returncode else ""


def pythons() -> dict[str, str]:
    """Every CPython from 3.9 on found here, version to path; of each minor version the first: the system's own."""
    folders = ["/usr/bin", *os.environ.get("PATH", "").split(":"), "/usr/local/bin"]
    folders += sorted(glob.glob(os.path.expanduser("~/.pyenv/versions/*/bin")))
    found: dict[str, str] = {}
    for path in (path for folder in folders for path in sorted(glob.glob(os.path.join(folder, "python3*")))):
        if re.fullmatch(r"python3(\.\d+)?", os.path.basename(path)):
            name, version, executable = _describe(path)
            if name == "cpython" and int(version[2:]) >= 9:
                found.setdefault(version, os.path.realpath(executable))
    return dict(sorted(found.items(), key=lambda item: int(item[0][2:])))


def _describe(path: str) -> list[str]:
    done = subprocess.run([path, "-ISc", _DESCRIBE], capture_output=True, text=True, check=False)
    return done.stdout.strip().split(maxsplit=2) if not done.returncode else ["", "3.0", ""]
