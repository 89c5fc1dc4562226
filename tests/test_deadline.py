"""One deadline over everything, whatever the program is doing when it comes."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from plugin import deadline
from plugin.deadline import DeadlineExceeded

SOON = 0.03  # seconds
FAR = 60.0


@contextlib.contextmanager
def interrupted() -> Iterator[None]:
    """Expects the interruption, and ends the deadline before pytest itself is interrupted."""
    try:
        with pytest.raises(DeadlineExceeded):
            yield
    finally:
        deadline.stop()


def wait_for_lock(tmp_path: Path) -> None:
    """Wait for a lock that another description of the file holds."""
    with open(tmp_path / "lock", "w") as one, open(tmp_path / "lock", "w") as other:
        fcntl.flock(one, fcntl.LOCK_EX)
        fcntl.flock(other, fcntl.LOCK_EX)


def wait_for_pipe(_tmp_path: Path) -> None:
    """Read from a pipe that nobody writes to."""
    source, sink = os.pipe()
    try:
        os.read(source, 1)
    finally:
        os.close(source)
        os.close(sink)


def wait_for_fifo(tmp_path: Path) -> None:
    """Open a FIFO that nobody else opens."""
    os.mkfifo(tmp_path / "fifo")
    os.open(tmp_path / "fifo", os.O_RDONLY)


def wait_busily(_tmp_path: Path) -> None:
    """Compute."""
    while True:
        pass


def sleep(_tmp_path: Path) -> None:
    """Sleep."""
    time.sleep(FAR)


@pytest.mark.parametrize("wait", [wait_for_lock, wait_for_pipe, wait_for_fifo, wait_busily, sleep])
def test_interrupts(tmp_path: Path, wait: Callable[[Path], None]) -> None:
    """A lock, a read, an open, a computation and a sleep all end when the time is up."""
    deadline.start(SOON)
    with interrupted():
        wait(tmp_path)


def test_is_no_exception_that_libraries_catch() -> None:
    """except Exception, which libraries retry after, lets it through."""
    assert not issubclass(DeadlineExceeded, Exception)


@pytest.mark.parametrize("seconds", [0.0, -1.0])
def test_time_that_is_up_already(seconds: float) -> None:
    """A deadline in the past interrupts at once; it does not switch the deadline off."""
    deadline.start(seconds)
    with interrupted():
        time.sleep(FAR)


def test_comes_again_when_swallowed() -> None:
    """Code that swallows the first interruption is interrupted once more."""
    deadline.start(SOON)
    with interrupted():
        try:
            time.sleep(FAR)
        except DeadlineExceeded:
            pass
        time.sleep(FAR)


def test_left() -> None:
    """What is left is infinite without a deadline, and otherwise runs down from what it was."""
    assert deadline.left() == float("inf")
    deadline.start(FAR)
    first = deadline.left()
    second = deadline.left()
    assert FAR >= first >= second > 0
    deadline.stop()
    assert deadline.left() == float("inf")


def test_stop() -> None:
    """After stop() nothing interrupts."""
    deadline.start(SOON)
    deadline.stop()
    time.sleep(2 * SOON)


def test_within_interrupts_its_step() -> None:
    """The closer deadline counts inside; afterwards the outer one holds, with what is left of it."""
    deadline.start(FAR)
    with pytest.raises(DeadlineExceeded), deadline.within(SOON):
        assert deadline.left() <= SOON
        time.sleep(FAR)
    assert SOON < deadline.left() <= FAR


def test_within_that_ends_in_time() -> None:
    """A step that ends in time is not interrupted later."""
    deadline.start(FAR)
    with deadline.within(SOON):
        pass
    time.sleep(2 * SOON)
    assert SOON < deadline.left() <= FAR


def test_within_without_an_outer_deadline() -> None:
    """Where there was no deadline there is none again afterwards."""
    with deadline.within(SOON):
        assert deadline.left() <= SOON
    assert deadline.left() == float("inf")
    time.sleep(2 * SOON)


def test_within_never_extends_the_outer_deadline() -> None:
    """A step that is given more than is left has what is left."""
    deadline.start(SOON)
    with interrupted(), deadline.within(FAR):
        assert deadline.left() <= SOON
        time.sleep(FAR)


def test_outer_deadline_that_passed_inside() -> None:
    """An outer deadline that passed during the step comes right after it, however the step dealt with its own."""
    deadline.start(SOON)
    with interrupted():
        with deadline.within(FAR):
            try:
                time.sleep(FAR)
            except DeadlineExceeded:
                pass
        time.sleep(FAR)


def test_nested_steps() -> None:
    """Each step gives back the deadline of the one around it."""
    deadline.start(FAR)
    with deadline.within(FAR / 2):
        with deadline.within(FAR / 4):
            assert deadline.left() <= FAR / 4
        assert FAR / 4 < deadline.left() <= FAR / 2
    assert FAR / 2 < deadline.left() <= FAR


def test_error_of_the_step_goes_through() -> None:
    """An error inside a step is not replaced, and the outer deadline holds again."""
    deadline.start(FAR)
    with pytest.raises(KeyError), deadline.within(FAR / 2):
        raise KeyError
    assert deadline.left() > FAR / 2


def test_no_deadline_within_none() -> None:
    """For as long as it takes is no deadline, rather than one that no timer can be set to."""
    with deadline.within(float("inf")):
        assert deadline.left() == float("inf")
