"""The house: data flows one way, and nothing in it is too large to be read at once."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = [path for path in sorted((ROOT / "plugin").rglob("*.py")) if "shims" not in path.parts]
# From the top down. A module imports from its own layer and from those below; the ground is everything not named here.
LAYERS = (
    ("__main__", "vendor"),  # the latter is a part of build.py
    ("ops",),
    ("verbs",),
    ("kube_node", "node_annotation"),
    ("start",),
    ("leases",),
    ("addresses",),
    ("node",),
    ("kube",),
    ("config",),
)
# What runs first calls __main__; the warm path is ground that the ordinary way stands on.
TOP, BOTTOM = "plugin.start.launch", {"plugin.start.warm"}
MODULE_LINES = 250
FUNCTION_LINES = 60


def module(path: Path) -> str:
    """plugin.ops.main for plugin/ops/main.py."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


NAMES = {module(path): path for path in SOURCES}


def imported(path: Path) -> set[str]:
    """Our modules that this one imports, be it in a function; what only a type checker sees does not count."""
    found = set()
    for node in statements(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found |= {name if name in NAMES else str(node.module) for name in names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found & NAMES.keys()


def statements(node: ast.AST) -> Iterator[ast.AST]:
    """Everything inside, but for what is for type checkers."""
    for child in ast.iter_child_nodes(node):
        if not (isinstance(child, ast.If) and isinstance(child.test, ast.Name) and child.test.id == "TYPE_CHECKING"):
            yield child
            yield from statements(child)


def test_no_circle() -> None:
    """No module imports another that comes back to it. The package itself, whose go() starts everything, is apart."""
    graph = {name: imported(path) - {"plugin"} for name, path in NAMES.items() if name != "plugin"}
    while graph:
        done = {name for name, needs in graph.items() if not needs & graph.keys()}
        assert done, f"in or behind a circle: {sorted(graph)}"
        graph = {name: needs for name, needs in graph.items() if name not in done}


def layer(name: str) -> int:
    """The number of the layer that a module is in: the ground has the highest."""
    room = name.split(".")[1]
    return next((number for number, rooms in enumerate(LAYERS) if room in rooms), len(LAYERS))


def test_layers() -> None:
    """No module imports from a layer above its own."""
    upward = {
        f"{name} -> {needed}"
        for name, path in NAMES.items()
        for needed in imported(path) - BOTTOM - {"plugin"}
        if name not in ("plugin", TOP) and layer(needed) < layer(name)
    }
    assert upward == set()


@pytest.mark.parametrize("path", [*SOURCES, ROOT / "build.py"], ids=lambda path: str(path.relative_to(ROOT)))
def test_size(path: Path) -> None:
    """A module is read in one go, a function at one glance."""
    text = path.read_text(encoding="utf-8")
    functions = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef)]

    assert len(text.splitlines()) <= MODULE_LINES
    assert [each.name for each in functions if (each.end_lineno or 0) - each.lineno >= FUNCTION_LINES] == []


def test_kube_alone_knows_the_packages() -> None:
    """requests, urllib3 and yaml are imported by plugin/kube alone."""
    users = set()
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [str(node.module)] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if {name.partition(".")[0] for name in names} & {"requests", "urllib3", "yaml", "certifi", "idna"}:
                users.add(module(path).rpartition(".")[0])
    assert users == {"plugin.kube"}


def test_ranges_alone_can_change_the_cluster() -> None:
    """What can send a PATCH, PUT or POST to the API server is reached by the command `ranges`, and by nothing else."""
    needs = {name: imported(path) for name, path in NAMES.items()}
    users = {"plugin.kube.session"}
    while more := {name for name, its in needs.items() if its & users} - users:
        users |= more
    assert {name for name in users if not name.startswith("plugin.ops.ranges.")} == {"plugin.kube.session"}
