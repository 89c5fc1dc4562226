"""How the program starts, from the first line of the archive to the answer.

1. The kernel runs the first line: Python opens the archive, once, and executes the beginning of it, which is the line
   itself, a comment for Python, and the bootstrap.
2. `bootstrap.py` loads the byte code of `launch.py` and of the warm path from the cache directory if that can be
   trusted. Otherwise it runs the source of `launch.py`, the first file in the archive.
3. `launch.py` runs `warm.py`, which answers an ADD whose request was answered before, and ends the process.
4. For any other request `importer.py` makes the modules in the archive importable, from the same byte code file and
   through the same descriptor, and `plugin.__main__` goes on.
5. If modules had to be compiled, `bytecode.py` stores their byte code, after the answer has been delivered.

`plugin/ops/install/archive.py` packs the archive: first line, bootstrap, ZIP.
"""
