"""Read files that only root can have written, when this runs as root: what they say decides what root does.

A network's configuration names files, and its author may not be root: files in a pod's volume, or in a user's home, are
refused. Any other user reads what the kernel lets it read.
"""

from __future__ import annotations

import errno
import os
import re
import stat

from plugin.errors import INVALID_CONFIG, TRY_AGAIN_LATER, CniError
from plugin.regular import read_open

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_SHORT = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
_UNMAPPED = 65534  # the owner of what belongs to no user of this namespace, user_namespaces(7)
_LINKS = 40  # as many symbolic links as the kernel follows, path_resolution(7)
_USERS, _GROUPS = "/etc/passwd", "/etc/group"
_ACCESS_LIST = "system.posix_acl_access"
# Directories in which an account other than root counts as root, because it controls the kubelet or the CNI plugins:
# Kubespray's kube_owner (roles/kubernetes/preinstall/tasks/0050-create_directories.yml), and the group to which
# MicroK8s gives its credentials (microk8s-resources/actions/common/utils.sh). And Debian's group of those who install
# programs (Debian Policy 9.1.2).
_ACCOUNTS = (
    ("/etc/kubernetes", _USERS, "kube"),
    ("/etc/cni", _USERS, "kube"),
    ("/opt/cni", _USERS, "kube"),
    ("/var/snap/microk8s", _GROUPS, "microk8s"),
    ("/usr/local", _GROUPS, "staff"),
)
# Directories into which pods write, as root or as any user: volumes, containers' root directories, shared memory.
_PODS = re.compile(
    r"/proc/|/dev/(?:shm|mqueue)/|.*/kubelet/(?:pods|plugins)/|.*/pods/[^/]+/volume|.*/kubernetes\.io~"
    r"|/(?:var|run)/(?:.*/)?containerd/|.*/agent/containerd/|.*/io\.containerd\.|.*/overlay2?/|.*/overlay-containers/"
    r"|/(?:var/lib|run)/(?:containers|crio|docker)/"
    # Volumes that are directories of the node, as local-path of k3s, OpenEBS, MicroK8s and minikube make them.
    r"|.*/(?:[^/]*-)?pvc-[0-9a-f]{8}-|/var/lib/rancher/k3s/storage/|.*/local-path-provisioner/|/tmp/hostpath[-_]|.*/log/pods/"
)
_ELSEWHERE = "move the file to a directory of root, such as /etc/cni"


class Untrusted(CniError):
    """A user other than root can change this file."""

    def __init__(self, path: str, what: str, remedy: str) -> None:
        super().__init__(INVALID_CONFIG, f"{path} is not used, because {what}", remedy)


def read(path: str, limit: int) -> bytes:
    """Return at most limit bytes of a regular file. Raises OSError, also for anything but a regular file; Untrusted.

    Raises CniError if this process or machine is out of descriptors or memory: that says nothing about the file.
    """
    try:
        file = _open(path)
    except OSError as error:
        if error.errno not in _SHORT:
            raise
        details = "raise the limits of the container runtime's service, or free some; see ulimit -a and free -m"
        raise CniError(TRY_AGAIN_LATER, f"{path} cannot be opened: {error.strerror}", details) from None
    try:
        return read_open(file, limit)
    finally:
        os.close(file)


def check(path: str) -> None:
    """Raise Untrusted if a user other than root can change this program. Raises OSError if it is missing."""
    if _is_root():
        os.close(_open(path))


def is_pods(path: str) -> bool:
    """Return whether this path, without links in it, is in a directory into which pods write."""
    return _PODS.match(path) is not None


def _is_root() -> bool:
    """Return whether this is root, and not an ordinary user who is root in a user namespace of his own."""
    return os.geteuid() == 0 and os.stat("/").st_uid != _UNMAPPED


def _open(path: str) -> int:
    if not _is_root():
        return os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    file, place = _walk(path)
    try:
        for name in (place, *_other_names(file, place)):
            if is_pods(name):
                known = "" if name == path else f" ({name})"
                raise Untrusted(path, f"it is in a directory into which pods write{known}", _ELSEWHERE)
    except BaseException:
        os.close(file)
        raise
    return file


def _walk(path: str) -> tuple[int, str]:
    """Open a path one name at a time, each in a directory that is held open; return the file, and where it is.

    Raises OSError if the file is missing, whatever its directories; else Untrusted for the first fault on the way.
    """
    names = _parts(path if path.startswith("/") else f"{os.getcwd()}/{path}")
    faults: list[Untrusted] = []
    place, here, links = "/", os.open("/", os.O_PATH | os.O_DIRECTORY), 0
    try:
        while names:
            directory = os.fstat(here)
            faults += _faults(path, place, directory)
            name = names.pop()
            status = os.stat(name, dir_fd=here, follow_symlinks=False)
            if stat.S_ISLNK(status.st_mode):
                links += 1
                if links > _LINKS:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
                link = os.path.join(place, name)
                if _is_shared(directory) and status.st_uid:  # in any other directory only root can have made it
                    faults.append(Untrusted(path, f"user {status.st_uid} made the link {link}", f"rm {quoted(link)}"))
                if f"{place}/".startswith("/proc/"):  # what is there may lead into another root directory
                    raise Untrusted(path, f"the link {link} may lead into a container", _ELSEWHERE)
                target = os.readlink(name, dir_fd=here)
                names += _parts(target)
                if not target.startswith("/"):
                    continue
                place, following = "/", os.open("/", os.O_PATH | os.O_DIRECTORY)
            else:
                place = os.path.normpath(os.path.join(place, name))
                flags = os.O_PATH | os.O_DIRECTORY if names or path.endswith("/") else os.O_RDONLY | os.O_NONBLOCK
                following = os.open(name, flags | os.O_NOFOLLOW, dir_fd=here)
            os.close(here)
            here = following
        faults += _faults(path, place, os.fstat(here))
        if faults:
            raise faults[0]
    except BaseException:
        os.close(here)
        raise
    return here, place


def _parts(path: str) -> list[str]:
    """Return the names in a path, the last one first."""
    return [name for name in reversed(path.split("/")) if name not in ("", ".")]


def _faults(path: str, place: str, status: os.stat_result) -> list[Untrusted]:
    """Return an error if a user other than root can change what is at this place, which path leads through."""
    mode = status.st_mode
    if status.st_uid and status.st_uid != _account(place, _USERS):
        return [Untrusted(path, f"user {status.st_uid} owns {place}", f"chown root {quoted(place)}")]
    if _is_shared(status):
        return []
    if mode & stat.S_IWOTH:
        return [Untrusted(path, f"every user can write {place}", f"chmod go-w {quoted(place)}")]
    if mode & stat.S_IWGRP and status.st_gid and status.st_gid != _account(place, _GROUPS):
        return [Untrusted(path, f"group {status.st_gid} can write {place}", f"chmod g-w {quoted(place)}")]
    if mode & stat.S_IWGRP and _has_access_list(place):  # these bits limit its entries
        what = f"an access control list lets others write {place}"
        return [Untrusted(path, what, f"setfacl -b {quoted(place)}")]
    return []


def _is_shared(status: os.stat_result) -> bool:
    """Return whether this is a directory such as /tmp, in which each user can replace only his own files."""
    mode = status.st_mode
    return stat.S_ISDIR(mode) and bool(mode & stat.S_ISVTX and mode & (stat.S_IWGRP | stat.S_IWOTH))


def _has_access_list(place: str) -> bool:
    try:
        return _ACCESS_LIST in os.listxattr(place)
    except OSError:  # a file system without such lists
        return False


def _account(place: str, database: str) -> int:
    """Return the user or group, as /etc/passwd or /etc/group numbers it, that counts as root here; -1 for none."""
    for directory, listed, name in _ACCOUNTS:
        if listed == database and (place == directory or place.startswith(f"{directory}/")):
            with open(database, "rb") as file:
                for line in file:
                    fields = line.split(b":")
                    if fields[0] == name.encode() and len(fields) > 2 and fields[2].isdigit():
                        return int(fields[2])
    return -1


def _other_names(file: int, place: str) -> Iterator[str]:
    """Yield the paths at which other mounts show an open file: a bind mount does not tell what it is a part of."""
    try:
        mount = _mount(file)
        if mount == _root_mount():
            return
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as table:
            # proc(5): id, parent's id, device, root in the file system, mount point
            mounts = {number: fields for number, _, *fields in (line.split(" ")[:5] for line in table)}
        device, root, point = mounts.pop(mount)
    except (OSError, LookupError, ValueError):  # without /proc
        return
    inside = _joined(unescaped(root), os.path.relpath(place, unescaped(point)))
    for other, root, point in mounts.values():
        if other == device and f"{inside}/".startswith(_joined(unescaped(root), "")):
            yield _joined(unescaped(point), os.path.relpath(inside, unescaped(root)))


def _root_mount() -> str:
    root = os.open("/", os.O_PATH | os.O_DIRECTORY)
    try:
        return _mount(root)
    finally:
        os.close(root)


def _mount(file: int) -> str:
    """Return the id of the mount through which a file was opened. Raises OSError and ValueError."""
    with open(f"/proc/self/fdinfo/{file}", "rb") as lines:
        return next((line.split()[1].decode() for line in lines if line.startswith(b"mnt_id:")), "")


def unescaped(text: str) -> str:
    """Return a field of mountinfo without its escapes for blanks and backslashes."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


def _joined(directory: str, name: str) -> str:
    return os.path.join(directory, "" if name == "." else name)


def quoted(path: str) -> str:
    """Return a path as a shell needs it."""
    import shlex

    return shlex.quote(path)
