"""The warm path: an ADD that was answered before goes to the next plugin without being parsed.

The bytes of the request are compared with those of a cache entry. If they are the same, the files that the answer
rests on unchanged and its time not over, the next plugin gets the configuration that the entry holds. Any other
request goes the ordinary way (plugin/__main__.py), which uses the same functions for keys, entries and processes.
"""

from __future__ import annotations

import posix as os  # os itself would add 0.7 ms to each start
import time

from plugin import deadline, process
from plugin.process import to_bytes, to_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DIRECTORY = "/run/node-ipam"
DIRECTORY_VARIABLE = "NODE_IPAM_CACHE"  # another place, as the environment says it
PREPARE = "NODE_IPAM_PREPARE"  # install sets it, to have byte code made for the first pod
PREFIX = "warm-"
NEWEST = b'"cniVersion": "1.1.0"'
# What host-local is told in its place, and says in its answer: before 1.6 it refuses 1.1.0.
OLDER = b'"cniVersion": "1.0.0"'

_TYPES = ("kube-node", "node-annotation")
# What decides the answer, the request aside.
_VARIABLES = ("CNI_PATH", "PATH", "HOME", "KUBECONFIG", "NODE_NAME", "NODE_ANNOTATION_CFG")
# 2**61 - 1, a prime. Enough to name and to check: what matters is compared byte for byte.
_MODULUS = (1 << 61) - 1
_FORMAT = b"node-ipam-2"  # to be raised with what is stored: an upgrade must not read what is laid out otherwise


class Request:
    """One call of the program, and how far the warm path has come with it."""

    def __init__(self, argv: Sequence[str]) -> None:
        self.argv = argv  # argv[0] is the path it was called by
        self.environ = process.environment()
        self.raw: bytes | None = None  # standard input, when it has been read
        self.left = 0.0  # seconds until the deadline
        self.entry: Entry | None = None  # the next plugin was called with this one's configuration
        self.status, self.answer = 1, b""  # what it gave
        self.error: BaseException | None = None  # what interrupted it, or anything before


class Entry:
    """A request that was answered, as plugin.fast.remember() stores it."""

    def __init__(self, body: bytes) -> None:
        made, until, program, translated, used, self.key, self.config, self.answer, *self._guards = unpack(body)
        self._made, self._until = float(made), float(until)
        self.program = to_text(program)
        self.translated = bool(translated)
        self.used = used.decode()  # the cache's name for what a DEL will need

    def is_current(self) -> bool:
        """Whether its time is not over, the clock was not set back, and the files it rests on are unchanged."""
        pairs = zip(self._guards[::2], self._guards[1::2])
        return self._made <= time.time() < self._until and all(
            signature(to_text(path)).encode() == seen for path, seen in pairs
        )


def serve(argv: Sequence[str]) -> Request:
    """Answer a known ADD and end the process. For anything else return what the ordinary way goes on with."""
    process.undo_inherited()
    request = Request(argv)
    if len(argv) == 1 and request.environ.get("CNI_COMMAND"):
        try:
            deadline.start(deadline.REQUEST)
            if is_plain(request) and add(request):
                deadline.stop()
                process.leave(0, request.answer)
        except BaseException as error:
            request.error = error
        request.left = deadline.left()
        deadline.stop()
    return request


def is_plain(request: Request) -> bool:
    """Whether it is an ADD whose environment needs no closer look: every variable is there and looks as usual."""
    environ = request.environ
    container, interface = environ.get("CNI_CONTAINERID", ""), environ.get("CNI_IFNAME", "")
    return (
        environ.get("CNI_COMMAND") == "ADD"
        and request.argv[0].rpartition("/")[2] in _TYPES
        and (container + interface).isascii()
        and container.isalnum()
        and interface.isalnum()
        and len(interface) <= 15
        and bool(environ.get("CNI_NETNS") and environ.get("CNI_PATH"))
    )


def add(request: Request) -> bool:
    """Call the next plugin for an ADD that is known; whether its result is the last one but for the addresses.

    Otherwise request.entry says whether it was called at all: then plugin.fast.conclude() is to go on.
    """
    request.raw = process.read_stdin() if request.raw is None else request.raw
    entry = find(request)
    if not entry:
        return False
    try:
        request.status, request.answer = process.run(entry.program, [entry.program], request.environ, entry.config)
    except FileNotFoundError:
        return False
    except BaseException as error:
        request.error = error
    request.entry = entry
    named = request.answer.replace(OLDER, NEWEST) if entry.translated else request.answer
    if request.error or request.status or not is_alike(named, entry.answer):
        return False
    request.answer = named
    return True


def find(request: Request) -> Entry | None:
    """The entry that answers this request; None when the ordinary way has to be gone."""
    known = key(request.argv[0], request.environ, request.raw or b"")
    try:
        directory = own_directory(location(request.environ))
    except OSError:
        return None
    try:
        body = read(PREFIX + digest(known), directory)
        entry = Entry(body) if body is not None else None
        if not entry or entry.key != known or not entry.is_current():
            return None
        if entry.used:  # linked first: what has a link is not pruned
            link(attachment(request.environ), entry.used, directory)
            os.stat(entry.used, dir_fd=directory, follow_symlinks=False)
        return entry
    except OSError:
        return None
    finally:
        os.close(directory)


def key(plugin: str, environ: Mapping[str, str], raw: bytes) -> bytes:
    """All that the answer to a request depends on."""
    values = [plugin, os.uname().nodename, *(environ.get(name, "") for name in _VARIABLES)]
    values.append(process.argument(environ, "K8S_POD_NAMESPACE") if b"ipv4-namespaces" in raw else "")
    return pack(*map(to_bytes, values), raw)


def is_alike(answer: bytes, last: bytes) -> bool:
    """Whether two results are the same but for the addresses, line by line."""
    lines, others = answer.split(b"\n"), last.split(b"\n")
    return len(lines) == len(others) and all(
        line == other or _same_but_address(line.split(b'"'), other.split(b'"')) for line, other in zip(lines, others)
    )


def _same_but_address(line: list[bytes], other: list[bytes]) -> bool:
    """Whether two lines, cut at their quotes, have an address of their own each and are the same else."""
    if len(line) != 5 or len(other) != 5 or line[1] != b"address":
        return False
    addresses = line[3] + other[3]
    return line[:3] == other[:3] and line[4] == other[4] and not addresses.strip(b"0123456789abcdef.:/")


def location(environ: Mapping[str, str]) -> str:
    """The cache directory to use when the configuration names none."""
    path = environ.get(DIRECTORY_VARIABLE, "")
    return path if path.startswith("/") else DIRECTORY


def digest(data: bytes) -> str:
    """Return a checksum; a name, too, where the bytes are stored with it and compared (else cache.name_of())."""
    return f"{int.from_bytes(data, 'big') % _MODULUS:016x}{len(data):x}"


def attachment(environ: Mapping[str, str]) -> str:
    """The name for what is remembered of this container and interface."""
    name = f"at:{environ.get('CNI_CONTAINERID', '')}:{environ.get('CNI_IFNAME', '')}"
    return name if len(name) < 200 else f"at:{digest(to_bytes(name))}"


def signature(path: str) -> str:
    """What changes when a file does; empty when there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return ""
    return f"{status.st_mtime_ns}.{status.st_ctime_ns}.{status.st_size}.{status.st_ino}"


def pack(*fields: bytes) -> bytes:
    """Join fields so that unpack() gives them back, without importing json (8 ms)."""
    return b"%s\n%s" % (b" ".join(b"%d" % len(field) for field in fields), b"".join(fields))


def unpack(data: bytes) -> list[bytes]:
    """The fields given to pack()."""
    lengths, _, rest = data.partition(b"\n")
    fields = []
    for length in map(int, lengths.split()):
        fields.append(rest[:length])
        rest = rest[length:]
    return fields


def check(body: bytes) -> bytes:
    """The line in front of what is stored: it does not fit any more when that is damaged, or another version's."""
    return _FORMAT + b" " + digest(body).encode()


def own_directory(path: str) -> int:
    """Open a directory that nobody else can have put anything into. Raises OSError."""
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    status = os.fstat(directory)
    if status.st_uid != os.geteuid() or status.st_mode & 0o077:
        os.close(directory)
        raise PermissionError(1, "it must belong to the user who runs this, with mode 0700")
    return directory


def read(name: str, directory: int) -> bytes | None:
    """What was last stored under this name; None when that is damaged or another user's. Raises OSError."""
    file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=directory)
    try:
        status = os.fstat(file)
        data = os.read(file, status.st_size)
    finally:
        os.close(file)
    line, _, body = data.partition(b"\n")
    return body if line == check(body) and status.st_uid == os.geteuid() else None


def link(name: str, target: str, directory: int) -> None:
    """Make name a symbolic link to target, in one step; it is only read, never followed. Raises OSError."""
    temporary = f".{name}.{os.getpid()}"
    try:
        os.unlink(temporary, dir_fd=directory)  # of a process that was killed and had our number
    except FileNotFoundError:
        pass
    os.symlink(target, temporary, dir_fd=directory)
    os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
