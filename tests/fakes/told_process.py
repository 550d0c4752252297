"""A fake that runs in a process of its own, which a test tells what to do, line by line."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class ToldProcess:
    """A Python program beside this file that prints `ready`, and then a line for each one that it is told."""

    def __init__(self, program: str, *arguments: str) -> None:
        line = [sys.executable, str(Path(__file__).with_name(program)), *arguments]
        self.process = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout and self.process.stdout.readline() == "ready\n"

    def tell(self, line: str) -> str:
        """What it answers."""
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().strip()
        assert answer, "it ended"
        return answer


@contextmanager
def told_process(program: str, *arguments: str) -> Iterator[ToldProcess]:
    """It runs until the block ends."""
    made = ToldProcess(program, *arguments)
    try:
        yield made
    finally:
        made.process.kill()
        made.process.communicate()
