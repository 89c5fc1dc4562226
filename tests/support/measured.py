"""For build.py coverage: let a process count what it runs, and an archive whatever process it becomes.

The product has none of this. Most processes of the tests are started as by a runtime, with neither the environment nor
the packages of the one that starts them: what they run first has to say that they count.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import posix
import sys
import sysconfig
import threading
from collections.abc import Callable, Mapping
from typing import Any

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
_FIRST = ("plugin/start/launch.py", "plugin/start/importer.py")  # what may run as source, without a name
# Not counted is what cannot be: by another version of Python, below a root without our files, in no directory at all.
_START = """import sys
if sys.version_info[:2] == {version}:
    sys.path[:0] = {path}
    try:
        from tests.support import measured
        measured.start({settings!r}, {data!r})
    except (ImportError, FileNotFoundError):
        pass
    finally:
        del sys.path[:2]
"""


def start(settings: str, data: str) -> None:
    """Count what this process runs from here on, until it ends by itself or by _exit(), but not by a signal."""
    import coverage

    counting = coverage.Coverage.current()
    if not counting:
        counting = coverage.Coverage(config_file=settings, data_file=data, data_suffix=True, messages=False)
        counting.start()
    # A signal handler can raise while its thread holds this lock: the thread must not wait for itself afterwards.
    collector: Any = counting._collector
    collector.data_lock = threading.RLock()

    def save() -> None:
        with contextlib.suppress(Exception):  # a disk that is full, a root that is read-only: what tests are about
            counting.stop()
            counting.save()

    def saving(leave: Callable[[int], None]) -> Any:
        def end(status: int) -> None:
            save()
            leave(status)

        return end

    atexit.register(save)
    posix._exit = os._exit = saving(posix._exit)


def prelude() -> str:
    """The statements that let a process count, whatever its environment and path."""
    files = {"settings": os.environ["COVERAGE_PROCESS_START"], "data": os.environ["COVERAGE_FILE"]}
    return _START.format(version=sys.version_info[:2], path=[sysconfig.get_path("purelib"), ROOT], **files)


def changed(entries: Mapping[str, bytes]) -> dict[str, bytes]:
    """The files of an archive, the first to be run changed: they start to count, then run what they were before."""
    return {**entries, **{name: _counted(name, entries[name]) for name in _FIRST}}


def _counted(file: str, source: bytes) -> bytes:
    name, path = file.removesuffix(".py").replace("/", "."), os.path.join(ROOT, file)
    return f"{prelude()}__name__ = {name!r}\nexec(compile({source!r}, {path!r}, 'exec'))\n".encode()


def main(folder: str) -> None:
    """Change the archive in this folder."""
    from plugin.ops.install import archive

    path = os.path.join(folder, archive.FILE)
    archive.place(path, archive.pack(changed(archive.unpack(path))))


if __name__ == "__main__":
    main(sys.argv[1])
