"""The bootstrap: archive.pack() puts it behind the first line, which has opened the archive as f and read this.

It takes launch.py and the warm path as byte code from the cache directory if this user alone can have written that,
for this archive and this Python. Otherwise it runs the source of launch.py, the first file in the archive.
"""

import posix

folder, code, name, size, kept = -1, -1, "", 0, None
try:
    import marshal
    from _frozen_importlib_external import MAGIC_NUMBER
    from _imp import source_hash

    status = posix.fstat(f.fileno())
    name = "code-@IDENTITY@-%x-%x-%s" % (status.st_size, status.st_mtime_ns, MAGIC_NUMBER.hex())
    place = posix.environ.get(b"NODE_IPAM_CACHE", b"")
    folder = posix.open(place if place[:1] == b"/" else b"/run/node-ipam", posix.O_DIRECTORY | posix.O_NOFOLLOW)
    code = posix.open(name, posix.O_NOFOLLOW | posix.O_NONBLOCK, dir_fd=folder)
    own, status = posix.fstat(folder), posix.fstat(code)
    if own.st_uid == status.st_uid == posix.geteuid() and not (own.st_mode | status.st_mode) & 63:
        head = posix.read(code, 65536)
        size = 12 + int.from_bytes(head[8:12], "big")
        kept = marshal.loads(head[12:size]) if source_hash(0, head[12:size]) == head[:8] else None
except Exception:
    pass
if not kept:
    head = f.read(30)
    f.read(head[26] + head[28])
    kept = f.read(int.from_bytes(head[18:22], "little")), None, None
exec(kept[0])
launch(f, folder, name, code, size, kept[1], kept[2])
# plugin/__init__.py: install of 0.1.0 takes a file with this name in its first 4096 bytes for its own
