"""libcni, the library that runtimes call plugins with, as a program: a little Go, built with Debian's package of it."""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile

from tests.support.netns import give_up
from tests.support.parts import BUILD

_SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "main.go")
_PACKAGES = "/usr/share/gocode"
PACKAGE = "golang-github-appc-cni-dev"


def build() -> str:
    """Return the path of the program in build/, which is built if it is not there for this source.

    Skips without Go or libcni; in CI, which installs them, fails.
    """
    with open(_SOURCE, "rb") as file:
        digest = hashlib.sha256(file.read()).hexdigest()[:12]
    path = os.path.join(BUILD, "libcni", digest)
    if os.path.exists(path):
        return path
    if not os.path.isdir(os.path.join(_PACKAGES, "src/github.com/containernetworking/cni/libcni")):
        give_up(f"needs libcni; .ci/run installs it ({PACKAGE})")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with tempfile.TemporaryDirectory(dir=BUILD, prefix="go-") as scratch:
        made = os.path.join(scratch, "libcni")
        private = {"HOME": scratch, "GOCACHE": os.path.join(scratch, "cache"), "GOPATH": _PACKAGES}
        environ = {"PATH": os.environ["PATH"], "GO111MODULE": "off", "CGO_ENABLED": "0", **private}
        subprocess.run(["go", "build", "-o", made, _SOURCE], env=environ, check=True)
        os.replace(made, path)
    return path
