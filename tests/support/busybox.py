"""Images of containers with nothing but busybox in them."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import tarfile

PAUSE = "localhost/pause:1"


def root() -> bytes:
    """Return a root with busybox in it, and the libraries of one that is not static, as a tar file."""
    busybox = os.path.realpath(shutil.which("busybox") or "")
    needs = subprocess.run(["ldd", busybox], capture_output=True, text=True, check=False).stdout
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", dereference=True) as tar:
        tar.add(busybox, "bin/busybox")
        for library in re.findall(r"(/\S+) \(", needs):
            tar.add(library)
    return made.getvalue()


def pause() -> bytes:
    """Return an image that does nothing, for the sandboxes of pods, as `docker save` writes it.

    https://github.com/moby/docker-image-spec/blob/main/v1.2.md#combined-image-json--filesystem-changeset-format
    """
    layer = root()
    config = {
        "architecture": {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine),
        "os": "linux",
        "config": {"Entrypoint": ["/bin/busybox", "sleep", "999999"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [PAUSE], "Layers": ["layer.tar"]}]
    texts = {"config.json": json.dumps(config), "manifest.json": json.dumps(manifest)}
    files = {"layer.tar": layer, **{name: text.encode() for name, text in texts.items()}}
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return made.getvalue()
