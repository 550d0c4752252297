"""Ctrl-C that is never lost.

An exception that a signal handler raises while Python runs inside a C callback (Numba that compiles or loads its cache, ctypes)
is printed and dropped. So the signal is remembered, too, and whoever shows progress asks for it.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class _Signal:
    asked = False
    """Plain, as a lock may be held by what a signal handler interrupts."""


@contextmanager
def interruptible() -> Iterator[None]:
    """Remember Ctrl-C while a verb runs; whatever it then fails with, it was interrupted.

    Raises:
        KeyboardInterrupt: Also where the interrupted code made another error of it, or went on to its end.
    """
    usual = (
        threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )
    if usual:
        signal.signal(signal.SIGINT, _remember)
    try:
        yield
        raise_if_asked()
    except Exception:
        raise_if_asked()
        raise
    finally:
        _Signal.asked = False
        if usual:
            signal.signal(signal.SIGINT, signal.default_int_handler)


@contextmanager
def until_interrupted() -> Iterator[None]:
    """What is inside goes on until Ctrl-C, which is its ordinary end."""
    try:
        yield
    except KeyboardInterrupt:
        pass
    finally:
        _Signal.asked = False


def raise_if_asked() -> None:
    """The Ctrl-C that was dropped.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed before; once.
    """
    if _Signal.asked:
        _Signal.asked = False
        raise KeyboardInterrupt


def _remember(number: int, frame: FrameType | None) -> None:
    _Signal.asked = True
    raise KeyboardInterrupt
