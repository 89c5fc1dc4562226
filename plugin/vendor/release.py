"""A release: what must be true before it is built, and the files beside the archive."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
from pathlib import Path

from plugin.ops.install import archive

SUMS = "SHA256SUMS"
BOM = "bom.cdx.json"


class ReleaseError(Exception):
    """Why no release can be built, in one sentence."""


def check(root: str, version: str) -> None:
    """Raise ReleaseError unless the checkout has no uncommitted changes and README describes this version."""
    command = ["git", "-C", root, "status", "--porcelain"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ReleaseError(f"{root} is not a git checkout: {done.stderr.strip()}")
    changed = done.stdout.splitlines()
    if changed:
        raise ReleaseError(f"uncommitted changes, commit them first: {', '.join(line[3:] for line in changed[:5])}")
    if not _describes(Path(root, "README.md").read_text(encoding="utf-8"), version):
        raise ReleaseError(f"README.md has no entry for {version} under '## Versions': write one")


def write_extras(dist: str) -> list[str]:
    """Write the bill of materials and SHA256SUMS beside the archive and return their names."""
    archive.place(os.path.join(dist, BOM), archive.unpack(os.path.join(dist, archive.FILE))[BOM], 0o644)
    sums = {name: hashlib.sha256(Path(dist, name).read_bytes()).hexdigest() for name in (archive.FILE, BOM)}
    lines = [f"{digest}  {name}\n" for name, digest in sums.items()]
    archive.place(os.path.join(dist, SUMS), "".join(lines).encode(), 0o644)
    return [BOM, SUMS]


def _describes(readme: str, version: str) -> bool:
    """Return whether a line of the section "Versions" begins with this version, whatever the markup before it."""
    section = re.search(r"^## Versions$(.*?)(?=^## |\Z)", readme, re.MULTILINE | re.DOTALL)
    entry = rf"^[#*|`\s-]*{re.escape(version)}(?![\w.]*\w)"
    return bool(section and re.search(entry, section[1], re.MULTILINE))
