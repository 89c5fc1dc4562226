"""The root of a machine: the one this runs on, or another's mounted somewhere, as in an init container."""

from __future__ import annotations

import errno
import functools
import json
import os
import subprocess
from collections.abc import Mapping, Sequence

from plugin.entries import DIRECTORY_VARIABLE
from plugin.errors import IO_FAILURE, PLUGIN_FAILURE, CniError
from plugin.start.warm import PREPARE

_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
_HOPS = 40  # symbolic links in one path, path_resolution(7)
_SAID = 200  # characters of what a program has printed


class Root:
    """A directory that is / for the programs of that machine. Raises CniError when it cannot be."""

    def __init__(self, path: str) -> None:
        self.path = os.path.realpath(path)
        if not os.path.isdir(self.path):
            raise CniError(
                IO_FAILURE, f"{path} is not a directory", "name the directory where the other root is mounted"
            )
        if not self.is_own() and os.geteuid() != 0:
            details = "its interpreter has to be run inside it, and only root may do that (chroot)"
            raise CniError(PLUGIN_FAILURE, f"--root {path} needs to be root", details)

    def is_own(self) -> bool:
        """Whether it is the root of the machine, or container, that this runs on."""
        return self.path == "/"

    def outside(self, path: str) -> str:
        """Return where an absolute path of that machine is here. Symbolic links are followed as that machine does.

        Raises OSError for a loop of links.
        """
        done: list[str] = []
        ahead = path.split("/")
        hops = 0
        while ahead:
            part = ahead.pop(0)
            if part == "..":
                done[-1:] = []
            elif part not in ("", "."):
                try:
                    target = os.readlink(os.path.join(self.path, *done, part))
                except OSError:  # no link, or not there
                    done.append(part)
                    continue
                hops += 1
                if hops > _HOPS:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
                if target.startswith("/"):
                    done = []
                ahead = target.split("/") + ahead
        return os.path.join(self.path, *done)

    def inside(self, path: str) -> str:
        """Return the path that outside() was given for this one."""
        return os.path.normpath("/" + os.path.relpath(path, self.path))

    def run(
        self, argv: Sequence[str], environ: Mapping[str, str], stdin: bytes = b"", seconds: float = 60.0
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a program of that machine with nothing but this environment; its stdout and stderr are caught.

        Raises OSError when it cannot be started, CniError when it takes too long.
        """
        try:
            return subprocess.run(
                argv,
                env={"PATH": _PATH, **environ},
                input=stdin,
                capture_output=True,
                timeout=seconds,
                cwd=self.path,
                preexec_fn=None if self.is_own() else functools.partial(os.chroot, self.path),
            )
        except subprocess.TimeoutExpired:
            raise CniError(PLUGIN_FAILURE, f"{argv[0]} has not ended after {seconds:.0f} seconds") from None
        except subprocess.SubprocessError:
            details = "a container needs the capability SYS_CHROOT for it"
            raise CniError(PLUGIN_FAILURE, f"{self.path} cannot be entered (chroot)", details) from None

    def supported_versions(self, path: str, seconds: float = 60.0, prepare: bool = False) -> list[str]:
        """Return what a plugin of that machine answers to VERSION, run as a runtime runs it. Raises CniError.

        prepare: let it leave byte code in the cache for later requests.
        """
        cache = os.environ.get(DIRECTORY_VARIABLE, "") if self.is_own() else ""  # it is of this machine only
        environ = {"CNI_COMMAND": "VERSION", **({PREPARE: "1", DIRECTORY_VARIABLE: cache} if prepare else {})}
        try:
            done = self.run([path], environ, b'{"cniVersion": "1.0.0"}', seconds)
        except OSError as error:
            details = "is it whole, executable, and for this machine? Is its file system mounted noexec?"
            raise CniError(PLUGIN_FAILURE, f"{path} cannot be run: {error.strerror}", details) from None
        versions = _versions(done.stdout)
        if done.returncode or not versions:
            lines = (done.stderr or done.stdout).decode("utf-8", "replace").strip()
            said = lines.rpartition("\n")[2][:_SAID]  # why it failed, as a rule
            msg = f"{path} does not answer CNI_COMMAND=VERSION: exit status {done.returncode} {said}".strip()
            raise CniError(PLUGIN_FAILURE, msg)
        return versions


def _versions(answer: bytes) -> list[str]:
    """Return the versions in an answer to VERSION, https://www.cni.dev/docs/spec/#version-probe-plugin-version-support."""
    try:
        versions = json.loads(answer)["supportedVersions"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return []
    return [str(each) for each in versions] if isinstance(versions, list) else []
