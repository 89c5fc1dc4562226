"""The bootstrap: archive.pack() puts it behind the first line, which has opened the archive as f and read this.

It takes launch.py and the warm path as byte code from the cache directory if this user alone can have written that, for
this archive and this Python. Otherwise it takes the source of launch.py, the first file in the archive. It is compiled
at each start, so it is short: 300 bytes cost 0.1 ms. archive.pack() fills in IDENTITY, BEGIN and END.
"""

import gc
import posix

gc.disable()
name, folder, code, kept = "", -1, -1, None
place = posix.environ.get(b"NODE_IPAM_CACHE", b"")
place = place if place[:1] == b"/" else b"/run/node-ipam"
try:
    from _frozen_importlib_external import MAGIC_NUMBER, _imp, marshal

    at, only = posix.fstat(f), posix.O_NOFOLLOW | posix.O_NONBLOCK
    name = "code-IDENTITY-%x-%x-%s" % (at.st_size, at.st_mtime_ns, MAGIC_NUMBER.hex())
    folder = posix.open(place, only)
    code = posix.open(name, only, dir_fd=folder)
    for at in posix.fstat(folder), posix.fstat(code):
        if at.st_uid != posix.geteuid() or at.st_mode & 63:
            raise OSError
    head = posix.read(code, 11)
    data = posix.read(code, int.from_bytes(head[8:], "big"))
    if _imp.source_hash(0, data) == head[:8]:
        kept = marshal.loads(data)
except Exception:
    pass
exec(kept[0] if kept else posix.read(f, END)[BEGIN:])
launch(f, place, folder, name, code, kept)
# plugin/__init__.py: install of 0.1.0 looks for this in its first 4096 bytes
