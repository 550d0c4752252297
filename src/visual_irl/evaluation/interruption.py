"""Ctrl-C, or another request to end, that is never lost.

An exception that a signal handler raises while Python runs inside a C callback (Numba that compiles or loads its cache, ctypes)
is printed and dropped. So the signal is remembered, too, and whoever shows progress asks for it.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

ENDS = {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGTERM: signal.SIG_DFL,
    signal.SIGHUP: signal.SIG_DFL,
}
"""Ctrl-C, a request to end (`kill`, `timeout`, a batch system) and a terminal that closes, with what Python does by itself. One
that is ignored, as under `nohup`, stays ignored."""


class _Signal:
    asked: int | None = None
    """Plain, as a lock may be held by what a signal handler interrupts."""


@contextmanager
def interruptible() -> Iterator[None]:
    """Remember Ctrl-C and the other `ENDS` while a verb runs; whatever it then fails with, it was interrupted.

    Raises:
        KeyboardInterrupt: Also where the interrupted code made another error of it, or went on to its end; its argument is the
            signal's number.
    """
    main = threading.current_thread() is threading.main_thread()
    usual = {number: handler for number, handler in ENDS.items() if main and signal.getsignal(number) == handler}
    for number in usual:
        signal.signal(number, _remember)
    try:
        yield
        raise_if_asked()
    except Exception:
        raise_if_asked()
        raise
    finally:
        _Signal.asked = None
        for number, handler in usual.items():
            signal.signal(number, handler)


@contextmanager
def until_interrupted() -> Iterator[None]:
    """What is inside goes on until Ctrl-C, which is its ordinary end."""
    try:
        yield
    except KeyboardInterrupt:
        pass
    finally:
        _Signal.asked = None


def raise_if_asked() -> None:
    """The interrupt that was dropped.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed before; once.
    """
    number = _Signal.asked
    if number is not None:
        _Signal.asked = None
        raise KeyboardInterrupt(number)


def _remember(number: int, frame: FrameType | None) -> None:
    _Signal.asked = number
    raise KeyboardInterrupt(number)
