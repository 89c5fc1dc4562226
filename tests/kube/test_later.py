"""What waits until it is used does what the real thing does, once it is used."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

import pytest

from plugin.kube.later import Module, Pattern, Silence, postponed
from tests.support.recorder import ROOT


def test_pattern() -> None:
    """A pattern made within it is compiled when it is asked something, and says what a pattern says."""
    with postponed():
        found: Any = re.compile("(a)b", re.IGNORECASE)
    assert isinstance(found, Pattern)
    assert found.match("AB").groups() == ("A",)
    assert found.sub("x", "cab") == "cx"
    assert isinstance(re.compile("a"), re.Pattern)


def test_pattern_that_is_none() -> None:
    """What is wrong with it is told when it is used."""
    with postponed():
        found = re.compile("(")
    with pytest.raises(re.error):
        found.match("")


def test_functions_of_a_module() -> None:
    """A function that was imported from a stand-in calls that of the module."""
    assert Module("calendar").timegm((1970, 1, 2, 0, 0, 0)) == 86400
    assert Module("urllib.request").pathname2url("/a b") == "/a%20b"
    with pytest.raises(AttributeError):
        Module("calendar").no_such_function()
    assert not hasattr(Module("calendar"), "__path__")


def test_silence() -> None:
    """Whatever is done with a logger, nothing comes of it."""
    logging = Silence()
    logging.getLogger("x").addHandler(logging.NullHandler())
    logging.getLogger("x").warning("a %s", 1)
    assert not hasattr(logging, "__path__")


def test_real_modules_come_after_all() -> None:
    """Afterwards an import finds the module itself; who imported it meanwhile has the stand-in, which calls that."""
    code = (
        f"import sys; sys.path[:0] = [{ROOT!r}]\n"
        "from plugin.kube.later import postponed\n"
        "with postponed():\n"
        "    import logging, zipfile\n"
        "    from urllib.request import getproxies_environment\n"
        "    early = logging, zipfile\n"
        "import logging, urllib.request, zipfile\n"
        "assert not {*early} & {logging, zipfile}\n"
        "assert logging.getLogger('x').name == 'x' and zipfile.ZipFile and urllib.request.urlopen\n"
        "assert early[1].is_zipfile('/dev/null') is False\n"
        "print(getproxies_environment())\n"
    )
    command = [sys.executable, "-IS", "-c", code]
    done = subprocess.run(command, env={"HTTP_PROXY": "http://p"}, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("{'http': 'http://p'}\n", "")
