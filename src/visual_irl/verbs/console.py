"""What a verb tells the user while it works: lines, and bars of its progress."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from tqdm import tqdm

from visual_irl.evaluation.interruption import raise_if_asked


def say(text: str) -> None:
    """Tell the user what happens."""
    print(text, flush=True)


@contextmanager
def progress_bar(what: str, unit: str) -> Iterator[Callable[[int, int], None]]:
    """A bar that is told (done, total), and ends the work if Ctrl-C was pressed; in a log file, a line every ten seconds."""
    live = sys.stderr.isatty()
    pace = 0.2 if live else 10.0
    with tqdm(desc=f"  {what}", unit=unit, leave=False, dynamic_ncols=live, mininterval=pace, delay=pace) as bar:

        def show(done: int, total: int) -> None:
            raise_if_asked()
            bar.total = total  # not reset, which prints at once
            bar.update(done - bar.n)

        yield show


@contextmanager
def progress_bars() -> Iterator[Callable[[str, int, int], None]]:
    """A bar that is told (what, done, total), and begins anew where that is something else."""
    with ExitStack() as stack:
        named = ""
        bar: Callable[[int, int], None]

        def show(what: str, done: int, total: int) -> None:
            nonlocal named, bar
            if what != named:
                stack.close()  # the one before: two at once need a terminal
                named, bar = what, stack.enter_context(progress_bar(what, "step"))
            bar(done, total)

        yield show
