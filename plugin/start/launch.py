"""The second half of the bootstrap: run the warm path and, unless that ends the process, the rest of the program.

This must parse on any Python 3: an old one gets a CNI error, not a traceback.
"""

import posix
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any  # noqa: F401 - in comments, which any Python 3 can read

LENGTH = 1536  # bytes of the bootstrap
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
    """Print a CNI error and end the process."""
    text = '{"cniVersion": "1.0.0", "code": %d, "msg": "%s", "details": "%s"}\n' % (code, msg, details)
    posix.write(1, text.encode())
    posix._exit(1)


def run(name, code):
    # type: (str, Any) -> Any
    """Run the code of one of our modules as that module."""
    module = sys.modules[name] = type(sys)(name)
    exec(code, module.__dict__)
    return module


def wait(name):
    # type: (str) -> bool
    """Wait while another process compiles for its first ADD, a second at most; whether there is its byte code then.

    Many pods start at once after boot: compiling the same in each of them would take all of the processor.
    """
    place = posix.environ.get(b"NODE_IPAM_CACHE", b"")
    place = place if place[:1] == b"/" else b"/run/node-ipam"
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


def launch(f, folder, name, code, size, block, rest):
    # type: (Any, int, str, int, int, Any, Any) -> None
    """Start the program. block, rest: the warm path and (importer.py, index) as byte code; name, code: their file."""
    if sys.version_info < (3, 9):
        msg = "node-ipam needs Python 3.9 or later, %s is Python %d.%d" % ((sys.executable,) + sys.version_info[:2])
        fail(100, msg, "run node-ipam.pyz install with a newer interpreter: it puts that one into the first line")
    argv = sys.argv[sys.argv[0] == "-c" :]
    is_first_add = posix.environ.get(b"CNI_COMMAND") == b"ADD" and len(argv) == 1 and code < 0
    if is_first_add and f.fileno() > 2 and not getattr(f, "waited", False) and wait(name):
        f.waited = True
        f.seek(0)
        f.readline()
        exec(f.read(LENGTH), globals())
        return
    request = index = importer = None
    try:
        if not block:
            head = f.read(30)
            f.read(head[26] + head[28])
            importer = f.read(int.from_bytes(head[18:22], "little"))
        archive, code = move(f.fileno()), move(code)
        posix.close(move(folder)) if folder >= 0 else None
        if block:
            for each in block:
                warm = run(*each)
            request = warm.serve(argv)
            importer, index = sys.modules["marshal"].loads(rest)
        run("plugin.start.importer", importer).install(archive, name, code, size, index)
        from plugin.__main__ import main

        main(argv, request)
    except (MemoryError, OSError) as error:
        details = "raise the limits of the container runtime's service, or free some; see ulimit -a and free -m"
        fail(11, "too little memory or too few open files to start (%s)" % type(error).__name__, details)
    except Exception as error:
        fail(11, "the plugin file is damaged (%s)" % type(error).__name__, "install it again: node-ipam.pyz install")
