"""Store the byte code of the archive's modules in the cache directory, for later processes.

A file holds the byte code for one archive and one Python, and is replaced atomically. Layout: two blocks, (launch.py,
modules of the warm path) and (importer.py, index), each as marshal writes it, with 8 bytes hash and 3 bytes length in
front; then the modules in the index, each with a hash of its own.
"""

from __future__ import annotations

import marshal
import time
from _imp import source_hash

from plugin.cache import Cache
from plugin.process import STARTED
from plugin.start.importer import IMPORTER, LAUNCH, WARM, Importer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PREFIX = "code-"
_RARE = ("plugin/ops/", "plugin/kube/session.py", "plugin/vendor/")
_ALL = 4 << 20  # bytes of all files: two versions for two Pythons


def keep(importer: Importer, cache: Cache, everything: bool) -> None:
    """Add what this process has compiled to the file. everything: compile all that requests need first."""
    ages = dict(cache.names())
    if not everything and ages.get(importer.name, 1e9) < time.time() - STARTED:
        return  # of many that began at the same time the first one stores; what it lacks a later one adds
    for file in sorted(importer.entries()) if everything else ():
        if _serves(file):
            importer.code(file)
    cache.put(importer.name, _packed(importer))
    cache.prune(PREFIX, float("inf"), _ALL)


def _serves(file: str) -> bool:
    """Return whether it is a module that requests use, rather than an operator's command."""
    return file.endswith(".py") and (
        file.startswith("vendor/common/yaml/") or (file.startswith("plugin/") and not file.startswith(_RARE))
    )


def _packed(importer: Importer) -> bytes:
    warm = tuple((_module(file), importer.code(file)) for file in WARM)
    launch, finder = importer.code(LAUNCH), importer.code(IMPORTER)
    blobs = {file: importer.blob(file) for file in importer.index}
    blobs.update({file: marshal.dumps(code) for file, code in importer.compiled.items()})
    index, place = {}, 0
    for file, data in blobs.items():
        index[file] = (place, len(data), source_hash(0, data))
        place += len(data)
    return b"".join([_block((launch, warm)), _block((finder, index)), *blobs.values()])


def _block(content: tuple[Any, ...]) -> bytes:
    data = marshal.dumps(content)
    return source_hash(0, data) + len(data).to_bytes(3, "big") + data


def _module(file: str) -> str:
    return file[: -len(".py")].replace("/", ".").removesuffix(".__init__")
