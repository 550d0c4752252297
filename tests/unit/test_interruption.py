"""Ctrl-C that comes where an exception cannot pass, and the other ends."""

import ctypes
import signal
import sys
from collections.abc import Iterator

import pytest

from visual_irl.evaluation.interruption import interruptible, until_interrupted
from visual_irl.verbs.console import progress_bar


@pytest.fixture(autouse=True)
def heard() -> Iterator[None]:
    """Ctrl-C is heard, which a process that a shell started in the background does not by itself."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def swallowed(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What was dropped on the way."""
    dropped: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda what: dropped.append(what.exc_type))
    return dropped


@ctypes.CFUNCTYPE(None)
def pressed_in_c() -> None:
    """Ctrl-C within a C callback, as when Numba compiles."""
    signal.raise_signal(signal.SIGINT)


def test_a_dropped_interrupt_ends_the_work_at_its_next_step(swallowed: list[object]) -> None:
    done = []
    with pytest.raises(KeyboardInterrupt), interruptible(), progress_bar("work", "step") as show:
        for step in range(5):
            if step == 2:
                pressed_in_c()
            show(step, 5)
            done.append(step)
    assert done == [0, 1] and swallowed == [KeyboardInterrupt]


def test_what_fails_after_an_interrupt_was_interrupted(swallowed: list[object]) -> None:
    with pytest.raises(KeyboardInterrupt), interruptible():
        pressed_in_c()
        raise ValueError("half of it is missing")
    with pytest.raises(ValueError, match="by itself"), interruptible():  # and nothing of it is left for the next
        raise ValueError("by itself")


def test_an_interrupt_that_was_asked_for_is_no_failure(swallowed: list[object]) -> None:
    with interruptible(), progress_bar("film", "frame") as show:
        with until_interrupted():
            pressed_in_c()
            show(1, 1)
            raise AssertionError("goes on")
        show(2, 2)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_every_end_says_which_it_was_and_one_that_is_ignored_stays_so() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        with pytest.raises(KeyboardInterrupt) as ended, interruptible():
            signal.raise_signal(signal.SIGHUP)
            signal.raise_signal(signal.SIGTERM)
            raise AssertionError("goes on")
    finally:
        signal.signal(signal.SIGHUP, before)
    assert ended.value.args == (signal.SIGTERM,) and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
