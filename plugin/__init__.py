"""node-ipam: CNI IPAM plugins whose address ranges come from the Kubernetes Node object."""

import sys
import zipimport

__version__ = "0.1.0"
# The names that the archive is called by, as "type" of an "ipam".
TYPES = ("kube-node", "node-annotation")

# The first code that runs, so it must parse on any Python 3: a node with an old one gets a CNI error, not a traceback.
if sys.version_info < (3, 9):
    sys.stdout.write(
        '{"cniVersion": "1.0.0", "code": 100, "msg": "node-ipam needs Python 3.9 or later, %s is Python %d.%d", '
        '"details": "run node-ipam.pyz install with a newer interpreter: it puts that one into the first line"}\n'
        % ((sys.executable,) + sys.version_info[:2])
    )
    sys.exit(1)


class _Importer(zipimport.zipimporter):
    """Python's own loads a module to know the name of its file, and once more to have it: so from 3.9 to 3.13."""

    def get_filename(self, fullname):
        # type: (str) -> str
        """The name of the file a module comes from."""
        path = self.archive + "/" + self.prefix + fullname.rpartition(".")[2]
        return path + ("/__init__.py" if self.is_package(fullname) else ".py")


if hasattr(__spec__.loader, "archive"):
    sys.path_hooks[:] = [_Importer if hook is zipimport.zipimporter else hook for hook in sys.path_hooks]


def go():
    # type: () -> None
    """Do what is asked for and end the process; the first line of the archive leaves python -c in front of that."""
    from plugin.__main__ import main

    main(sys.argv[sys.argv[0] == "-c" :])
