"""How the program starts, from the first line of the archive to the answer.

1. The kernel runs the first line: Python opens the archive, once, and executes the bootstrap that follows the line.
2. `bootstrap.py` loads `warm.py` and runs it. Everything else in the archive is read through the same descriptor.
3. `warm.py` answers an ADD whose like was answered a moment ago. It is one module without imports of its own.
4. For anything else `importer.py` makes the modules in the archive importable, and `plugin.__main__` takes over.

`plugin/ops/install/archive.py` packs the archive: first line, bootstrap, ZIP.
"""
