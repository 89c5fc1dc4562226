"""The program: installed, undamaged, linked, and running."""

from __future__ import annotations

import os
import re
import shlex
import zipfile

from plugin import __version__
from plugin.errors import CniError
from plugin.ops.doctor.context import Machine
from plugin.ops.doctor.finding import Finding, fail, ok, warn
from plugin.ops.install import archive, bindir
from plugin.ops.install import interpreter as pythons
from plugin.ops.install.root import Root

_SECONDS = 20.0  # for a program to say its version
_LINE = 4096  # bytes of a first line at most


def archive_file(machine: Machine) -> Finding:
    """The archive is undamaged, and of this version."""
    folder = machine.folder()
    path, remedy = os.path.join(folder, archive.FILE), _install(folder)
    if not os.path.isdir(folder):
        elsewhere = "if the runtime uses another directory, name it with --bin-dir DIR"
        remedy = f"mkdir -p {shlex.quote(folder)}, then {remedy}\n{elsewhere}"
        return fail("no-directory", f"there is no directory {folder}", remedy)
    if not os.path.exists(path):
        return fail("not-installed", f"there is no {path}", remedy)
    if not os.path.isfile(path):
        return fail("not-a-file", f"{path} is not a file", f"remove it, then {remedy}")
    try:
        with open(path, "rb") as file:
            first = file.readline(_LINE)
        entries = archive.unpack(path)
    except zipfile.BadZipFile as error:
        return fail("damaged", f"{path} is damaged or half written ({error})", remedy)
    if "plugin/__init__.py" not in entries:
        return fail("other-program", f"{path} is another program", remedy)
    if not first.startswith(b"#!/"):
        return fail("damaged", f"{path} is damaged: its first line names no interpreter", remedy)
    machine.interpreter = os.fsdecode(first[2:].split()[0])
    if not os.access(path, os.X_OK):
        return fail("not-executable", f"{path} is not executable", f"chmod 755 {shlex.quote(path)}")
    version = _version(entries["plugin/__init__.py"])
    if version != __version__:
        return warn("other-version", f"{path} is version {version}, this is {__version__}", remedy)
    return ok(f"{path} {version}")


def interpreter(machine: Machine) -> Finding:
    """The interpreter that the first line names exists and is suitable."""
    path, folder = machine.interpreter, machine.folder()
    again = f"python3 node-ipam.pyz install --bin-dir {shlex.quote(folder)} --python PATH"
    remedy = f"install again with one that exists: {again}"
    if not os.path.exists(path):
        return fail("missing", f"{path}, which the first line of {archive.FILE} names, does not exist", remedy)
    try:
        return ok(str(pythons.probe(Root("/"), path)))
    except CniError as error:
        return fail("unsuitable", f"{path} cannot run the plugin: {error.msg}", remedy)


def links(machine: Machine) -> Finding:
    """The two plugin names are links to the archive."""
    folder = machine.folder()
    needed = {network.type for network in machine.wanted}
    troubles = {name: trouble for name in archive.LINKS if (trouble := _wrong_with(os.path.join(folder, name)))}
    if not troubles:
        return ok(f"{' and '.join(archive.LINKS)} in {folder}")
    what, remedy = "; ".join(troubles.values()), _install(folder)
    is_needed = needed & troubles.keys() or not needed
    return fail("broken", what, remedy) if is_needed else warn("unused", what, remedy)


def answer(machine: Machine) -> Finding:
    """Each plugin answers VERSION if it is run as a runtime runs it."""
    folder = machine.folder()
    paths = [os.path.join(folder, name) for name in archive.LINKS]
    try:
        for path in filter(os.path.exists, paths):
            Root("/").supported_versions(path, _SECONDS)
    except CniError as error:
        return fail("none", error.msg, _install(folder))
    return ok("CNI_COMMAND=VERSION is answered")


def _install(folder: str) -> str:
    return f"install it: node-ipam.pyz install --bin-dir {shlex.quote(folder)}"


def _wrong_with(path: str) -> str:
    if not os.path.lexists(path):
        return f"there is no {path}"
    if not os.path.exists(path):
        return f"{path} is a broken link to {os.readlink(path)}"
    if bindir.is_ours(Root("/"), os.path.realpath(path)):
        return ""
    return f"{path} is another program"


def _version(source: bytes) -> str:
    found = re.search(rb'__version__ = "([^"]*)"', source)
    return found[1].decode() if found else "unknown"
