"""The files under .github say what is so: build.py test checks their form with zizmor."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

import build
from plugin.ops import main

GITHUB = Path(build.ROOT, ".github")
FILES = sorted(GITHUB.rglob("*.yml"))


def load(name: str) -> Any:
    """The content of a YAML file there."""
    return yaml.safe_load((GITHUB / name).read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_commands_of_build_py(path: Path) -> None:
    """Every command of build.py that a file runs exists, and so does every program of this checkout."""
    text = path.read_text(encoding="utf-8")
    commands = set(re.findall(r"build\.py (\w+)", text))

    assert commands <= {"build", "demo", "test", "release"}
    assert [name for name in re.findall(r" (\.ci/\w+)", text) if not (Path(build.ROOT) / name).is_file()] == []


def test_every_python_of_the_tools_is_tested() -> None:
    """The matrix has the Pythons for which the packages of the tests are locked; the built file is run on 3.9."""
    jobs = load("workflows/ci.yml")["jobs"]
    versions = jobs["artifact"]["steps"][1]["with"]["python-version"].split()

    assert jobs["test"]["strategy"]["matrix"]["python"] == sorted(
        {each.python for each in build.TOOL_TARGETS}, key=_order
    )
    assert versions[0] == "3.9"


def test_release_publishes_what_build_py_makes() -> None:
    """The workflow uploads each file of a release, and attests all but the sums."""
    steps = load("workflows/release.yml")["jobs"]["release"]["steps"]
    attested = next(step["with"]["subject-path"].split() for step in steps if "attest" in step.get("uses", ""))
    published = re.findall(r"dist/\S+", steps[-1]["run"])

    assert attested == ["dist/node-ipam.pyz", "dist/bom.cdx.json"]
    assert published == [*attested, "dist/SHA256SUMS"]


def test_lock_files_are_updated() -> None:
    """Dependency updates look into the directory of every lock file."""
    updates = load("dependabot.yml")["updates"]
    pip = next(each["directories"] for each in updates if each["package-ecosystem"] == "pip")
    locks = [build.TOOLS, *(build._lock(tree) for tree, _, _ in build.TREES)]

    assert {"/" + str(Path(lock).parent.relative_to(build.ROOT)) for lock in locks} == set(pip)


def test_issue_form_asks_for_doctor() -> None:
    """The form requires the output of a command that exists."""
    body = load("ISSUE_TEMPLATE/bug.yml")["body"]
    fields = {each["id"]: each for each in body if "id" in each}

    assert "doctor -o json" in fields["doctor"]["attributes"]["description"]
    assert fields["doctor"]["validations"]["required"]
    assert "doctor" in main.COMMANDS


def test_zizmor_finds_what_it_is_for(tmp_path: Path) -> None:
    """An action that is not pinned, or a workflow that is not one, fails the check of build.py test."""
    workflow = tmp_path / ".github" / "workflows" / "ci.yml"
    workflow.parent.mkdir(parents=True)
    text = (GITHUB / "workflows" / "ci.yml").read_text(encoding="utf-8")
    program = [f"{build.VENV}/{build.ZIZMOR[0]}", *build.ZIZMOR[1:]]
    if not Path(program[0]).exists():
        pytest.skip("build/venv is not made by this build.py: python3 build.py test")

    for wrong in (re.sub(r"checkout@\w+", "checkout@v4", text), text.replace("runs-on:", "runs-at:")):
        workflow.write_text(wrong, encoding="utf-8")
        assert subprocess.run(program, cwd=tmp_path, capture_output=True, check=False).returncode > 0
    workflow.write_text(text, encoding="utf-8")
    assert subprocess.run(program, cwd=tmp_path, capture_output=True, check=False).returncode == 0


def _order(version: str) -> int:
    return int(version.partition(".")[2])


CONTRIBUTING = (GITHUB / "CONTRIBUTING.md").read_text(encoding="utf-8")


def test_code_layout() -> None:
    """Every module and folder of plugin/ is in the tree of CONTRIBUTING.md, and nothing that does not exist."""
    tree = CONTRIBUTING.partition("## Code layout")[2].partition("```\n")[2].partition("```")[0]
    inside = tree.partition("plugin/\n")[2].partition("tests/\n")[0]
    named = set(re.findall(r"(?<![\w/.])(\w+(?:\.py|/))", inside))
    plugin = Path(build.ROOT, "plugin")
    there = {path.name + ("/" if path.is_dir() else "") for path in plugin.iterdir() if path.name[:3] != "__p"}

    assert named - {"main.py", "output.py", "warm.py", "ordinary.py", "evidence/"} == there


def test_path_of_a_request() -> None:
    """Each module.function that it names exists."""
    text = CONTRIBUTING.partition("## The path of a request")[2].partition("## How to add")[0]
    sources: dict[str, str] = {}
    for path in Path(build.ROOT, "plugin").rglob("*.py"):
        sources[path.stem] = sources.get(path.stem, "") + path.read_text(encoding="utf-8")
    named = [pair for pair in re.findall(r"`(\w+)\.(\w+)`", text) if pair[1] != "py"]

    assert len(named) > 15
    assert [pair for pair in named if f"def {pair[1]}(" not in sources.get(pair[0], "")] == []
