"""The warm path: an ADD that was answered before goes to the next plugin without being parsed.

The bytes of the request are compared with those of a cache entry. If they are the same, the files that the answer
rests on unchanged and its time not over, the next plugin gets the configuration that the entry holds. Any other
request goes the ordinary way (plugin/__main__.py), which uses the same functions for keys, entries and processes.
"""

from __future__ import annotations

import marshal
import posix as os  # os itself would add 0.7 ms to each start
import time

from plugin import TYPES, deadline, entries, process, stdout
from plugin.entries import signature
from plugin.process import to_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PREPARE = "NODE_IPAM_PREPARE"  # install sets it, to have byte code made for the first pod
PREFIX = "warm-"
NEWEST = b'"cniVersion": "1.1.0"'
# What host-local is told in its place, and says in its answer: before 1.6 it refuses 1.1.0.
OLDER = b'"cniVersion": "1.0.0"'

# What decides the answer, the request aside.
_VARIABLES = ("CNI_PATH", "PATH", "HOME", "KUBECONFIG", "NODE_NAME", "NODE_ANNOTATION_CFG")


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
    """A request that was answered, as plugin.start.ordinary.remember() stores it."""

    def __init__(self, body: bytes) -> None:
        (
            self._made,
            self._until,
            self._guards,  # (path, signature) of each file that the answer rests on
            self.key,
            self.program,
            self.config,
            self.translated,
            self.answer,
            self.network,
            self.used,  # the cache's name for what a DEL will need
            self.others,  # stores in which no attachment may have the same address
        ) = marshal.loads(body)

    def is_current(self) -> bool:
        """Return whether it has not expired, the clock was not set back, and its guard files are unchanged."""
        in_time: bool = self._made <= time.time() < self._until
        return in_time and all(signature(path) == seen for path, seen in self._guards)

    def is_complete(self) -> bool:
        """Return whether others still holds all stores; the last guard file is replaced with each new one."""
        return all(signature(path) == seen for path, seen in self._guards[-1:])


def serve(argv: Sequence[str]) -> Request:
    """Answer a known ADD and end the process. For anything else return what the ordinary way goes on with."""
    process.undo_inherited()
    request = Request(argv)
    if len(argv) == 1 and request.environ.get("CNI_COMMAND"):
        try:
            deadline.start(deadline.REQUEST)
            if is_plain(request) and add(request):
                stdout.exit_with(0, b"")
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
        and request.argv[0].rpartition("/")[2] in TYPES
        and (container + interface).isascii()
        and container.isalnum()
        and interface.isalnum()
        and len(interface) <= 15
        and bool(environ.get("CNI_NETNS") and environ.get("CNI_PATH"))
    )


def add(request: Request) -> bool:
    """Call the next plugin for an ADD that is known; return whether its result was delivered.

    It is if it is like the last one but for the addresses. Otherwise request.entry says whether the next plugin was
    called at all: then plugin.start.ordinary.conclude() is to go on.
    """
    request.raw = process.read_stdin() if request.raw is None else request.raw
    entry = find(request)
    if not entry:
        return False
    request.entry = entry
    try:
        request.status, request.answer = process.run(entry.program, [entry.program], request.environ, entry.config)
    except FileNotFoundError:
        request.entry = None
        return False
    except BaseException as error:
        request.error = error
    named = request.answer.replace(OLDER, NEWEST) if entry.translated else request.answer
    addresses = None if request.error or request.status else new_addresses(named, entry.answer)
    # Looked at after the address was reserved.
    if addresses is None or is_taken(addresses, entry.others) or not entry.is_complete():
        return False
    request.answer = named
    return stdout.deliver(named)


def find(request: Request) -> Entry | None:
    """Return the entry for this request; None if there is none that is current."""
    known = key(request.argv[0], request.environ, request.raw or b"")
    try:
        directory = entries.own_directory(entries.location(request.environ))
    except OSError:
        return None
    try:
        body = entries.read(PREFIX + entries.digest(known), directory)
        entry = Entry(body) if body is not None else None
        if not entry or entry.key != known or not entry.is_current():
            return None
        name = entries.attachment(request.environ, entry.network)  # linked first: what has a link is not removed
        entries.record(name, entries.record_text(entry.used, request.environ), directory)
        os.stat(entry.used, dir_fd=directory, follow_symlinks=False)
        return entry
    except OSError:
        return None
    finally:
        os.close(directory)


def key(plugin: str, environ: Mapping[str, str], raw: bytes) -> bytes:
    """Return all that the result of a request depends on; no value but the last can have a NUL in it."""
    values = [plugin, os.uname().nodename, *[environ.get(name, "") for name in _VARIABLES]]
    values.append(process.argument(environ, "K8S_POD_NAMESPACE") if b"ipv4-namespaces" in raw else "")
    return to_bytes("\0".join(values)) + b"\0" + raw


def new_addresses(answer: bytes, last: bytes) -> list[bytes] | None:
    """Return the addresses of a result that differs from the last one in these only; None if it differs in more."""
    fields, others = answer.split(b'"'), last.split(b'"')
    if len(fields) != len(others) or b"\\" in answer:
        return None
    found, old = [], []
    name = colon = b""
    for field, other in zip(fields, others):
        if name == b"address" and colon.strip() == b":":
            found.append(field)
            old.append(other)
        elif field != other:
            return None
        name, colon = colon, field
    return None if b"".join(found + old).strip(b"0123456789abcdef.:/") else found


def is_taken(addresses: Sequence[bytes], stores: Sequence[bytes]) -> bool:
    """Return whether one of these stores holds one of the addresses, or may hold it."""
    names = [address.partition(b"/")[0] for address in addresses]
    return not all(is_absent(b"%s/%s" % (store, name)) for store in stores for name in names)


def is_absent(path: bytes) -> bool:
    """Return whether there is certainly nothing of this name, not even a link that leads nowhere."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        pass
    return False
