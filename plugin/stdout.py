"""The answer on stdout, of which it is known whether it was delivered as a whole; and stderr, which never blocks."""

from __future__ import annotations

import _signal  # the C module under signal, which would import enum (5 ms)
import posix as os  # os itself would add 0.7 ms to each start
import time

from plugin import deadline

_PAUSE = 0.005  # seconds between tries to write to a full pipe
_FIFO, _FILE_TYPE = 0o010000, 0o170000  # S_IFIFO, S_IFMT


# Our stdout, which is written once.
_is_used = False  # something was written: nothing more may be
_is_delivered = False  # all of a success


def is_caller_gone() -> bool:
    """Return whether the reader of our stdout is gone; False if that is unknown."""
    from select import POLLERR, POLLHUP, poll

    poller = poll()
    poller.register(1, 0)
    return any(event & (POLLERR | POLLHUP) for _, event in poller.poll(0))


def deliver(answer: bytes) -> bool:
    """Write the answer to stdout, before the deadline; return whether all of it was written.

    Only the first call writes: after a success that was delivered there is no other answer, nor after part of one.
    """
    global _is_used, _is_delivered
    if _is_used:
        return False
    _is_used = True
    sent = 0
    try:
        file = _open_stdout()
        while sent < len(answer):
            # A deadline between the system call and the addition would count as not delivered what was.
            _signal.pthread_sigmask(_signal.SIG_BLOCK, (_signal.SIGALRM,) if file != 1 else ())
            try:
                sent += os.write(file, answer[sent:])
            except BlockingIOError:
                time.sleep(_PAUSE)
            finally:
                _is_delivered = sent == len(answer)
                _signal.pthread_sigmask(_signal.SIG_UNBLOCK, (_signal.SIGALRM,))
    except (OSError, deadline.DeadlineExceeded):
        pass
    return sent == len(answer)


def is_delivered() -> bool:
    """Return whether deliver() has written a whole answer."""
    return _is_delivered


def finish(status: int, answer: bytes) -> int:
    """Print the answer, unless a success was delivered; return the exit status."""
    if _is_delivered:
        return 0
    deadline.start(min(deadline.left(), deadline.UNDO))
    delivered = deliver(answer)
    deadline.stop()
    return status if delivered else status or 1


def exit_with(status: int, answer: bytes) -> None:
    """Print the answer and end the process at once: finalising Python costs 10-20 ms."""
    os._exit(finish(status, answer))


def _open_stdout() -> int:
    """Return a descriptor for writing; for a pipe it is one of ours, which never blocks. Raises OSError."""
    if os.fstat(1).st_mode & _FILE_TYPE == _FIFO:
        try:
            return os.open("/proc/self/fd/1", os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            pass  # no /proc: it may block, until the deadline
    return 1


def write_stderr(text: bytes) -> None:
    """Write to stderr what its reader takes at once. What does not fit is lost."""
    file = 2
    try:
        if os.fstat(2).st_mode & _FILE_TYPE == _FIFO:
            file = os.open("/proc/self/fd/2", os.O_WRONLY | os.O_NONBLOCK)
        os.write(file, text)
    except OSError:
        pass
    finally:
        if file != 2:
            os.close(file)
