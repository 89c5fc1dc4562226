"""The second half of the bootstrap: run the warm path and, unless that ends the process, the rest of the program.

This must parse on any Python 3: an old one gets a CNI error, not a traceback.
"""

import _signal  # built in
import posix
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any  # noqa: F401 - in comments, which any Python 3 can read

BOOTSTRAP = 1152  # bytes of the first line and bootstrap.py, the same in all versions
LOCK = "code.lock"  # in the cache directory
WAIT, WAITS = 0.02, 50  # seconds, and how many times


def move(number):
    # type: (int) -> int
    """Return the descriptor under a number above 2; it has a lower one if stdin, stdout or stderr was closed."""
    lower = []
    while 0 <= number < 3:
        lower.append(number)
        number = posix.dup(number)
    for each in lower:
        posix.close(each)
    return number


def fail(code, msg, details):
    # type: (int, str, str) -> None
    """Print a CNI error and end the process. The code of a STATUS says that an ADD would fail, as in failure.py."""
    code = 50 if posix.environ.get(b"CNI_COMMAND") == b"STATUS" else code
    text = '{"cniVersion": "1.0.0", "code": %d, "msg": "%s", "details": "%s"}\n' % (code, msg, details)
    posix.write(1, text.encode())
    posix._exit(1)


def run(name, code):
    # type: (str, Any) -> Any
    """Run the code of one of our modules as that module."""
    module = sys.modules[name] = type(sys)(name)
    exec(code, module.__dict__)
    return module


def wait(place, name):
    # type: (bytes, str) -> bool
    """Wait while another process compiles for its first ADD, a second at most; whether there is its byte code then.

    Many pods start at once after boot: compiling the same in each of them would take all of the processor.
    """
    try:
        from fcntl import LOCK_EX, LOCK_NB, flock

        try:
            posix.mkdir(place, 0o700)
        except FileExistsError:
            pass
        folder = posix.open(place, posix.O_DIRECTORY | posix.O_NOFOLLOW)
        status = posix.fstat(folder)
        if status.st_uid != posix.geteuid() or status.st_mode & 63:
            return False
        lock = posix.open(LOCK, posix.O_RDWR | posix.O_CREAT | posix.O_NOFOLLOW, 0o600, dir_fd=folder)
        for _ in range(WAITS):
            if name in posix.listdir(folder):
                return True
            try:
                flock(lock, LOCK_EX | LOCK_NB)  # held until this process ends
                return False
            except BlockingIOError:
                time.sleep(WAIT)
    except (ImportError, OSError):
        pass
    return False


def block(code):
    # type: (int) -> Any
    """Return the next block of the byte code file; nothing if it is damaged."""
    from _imp import source_hash
    from marshal import loads

    head = posix.read(code, 11)
    data = posix.read(code, int.from_bytes(head[8:], "big"))
    return loads(data) if source_hash(0, data) == head[:8] else ()


def source(f):
    # type: (int) -> bytes
    """Return the source of importer.py, the second file in the archive."""
    content = b""
    posix.lseek(f, BOOTSTRAP, 0)
    for _ in range(2):
        head = posix.read(f, 30)
        posix.read(f, head[26] + head[28])
        content = posix.read(f, int.from_bytes(head[18:22], "little"))
    return content


def launch(f, place, folder, name, code, kept):
    # type: (int, bytes, int, str, int, Any) -> None
    """Start the program.

    place, folder: the cache directory. kept: launch.py and the warm path as byte code, if there is any; name, code: its
    file.
    """
    if sys.version_info < (3, 9):
        msg = "node-ipam needs Python 3.9 or later, %s is Python %d.%d" % ((sys.executable,) + sys.version_info[:2])
        fail(100, msg, "run node-ipam.pyz install with a newer interpreter: it puts that one into the first line")
    argv = sys.argv[sys.argv[0] == "-c" :]
    command = posix.environ.get(b"CNI_COMMAND") if len(argv) == 1 else None
    if not command and _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:  # not ignored, as under nohup
        _signal.signal(_signal.SIGINT, _signal.SIG_DFL)  # until plugin/ops handles it: no traceback of an import
    if command == b"ADD" and code < 0 and f > 2 and "waited" not in globals() and wait(place, name):
        posix.lseek(f, 0, 0)
        exec(posix.read(f, BOOTSTRAP), {"f": f, "waited": True})  # which ends the process
    request, rest = None, ()
    try:
        f, code = move(f), move(code)
        posix.close(move(folder)) if folder >= 0 else None
        if kept:
            for each in kept[1]:
                warm = run(*each)
            request = warm.serve(argv)
            rest = block(code)
        importer, index = rest or (source(f), None)
        run("plugin.start.importer", importer).install(f, name, code, index)
        from plugin.__main__ import main

        main(argv, request)
    except (MemoryError, OSError) as error:
        details = "raise the limits of the container runtime's service, or free some; see ulimit -a and free -m"
        fail(11, "too little memory or too few open files to start (%s)" % type(error).__name__, details)
    except Exception as error:
        fail(11, "the plugin file is damaged (%s)" % type(error).__name__, "install it again: node-ipam.pyz install")
