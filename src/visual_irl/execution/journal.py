"""The log of an execution: append-only, one checked line a record, complete up to the moment a process dies.

Each line is the CRC-32 of its JSON and the JSON. Lines go to the operating system one by one, so that killing the process loses
none; decisions are also forced to the disk. A second small file is written beforehand: when the disk is full, the reason of
the stop still fits into it.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from visual_irl.errors import MissingFile, UnreadableFile, UnwritableOutput
from visual_irl.io.artifacts import jsonable
from visual_irl.io.atomic import require_writable_folder

RESERVE = 4096
"""Bytes kept for the last record [B]."""


class Journal:
    """An open log. `write` raises `OSError` when the disk takes no more; `decide` never does."""

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        require_writable_folder(self.path.parent, "place for the log")
        self._spare = _spare_path(self.path)
        try:
            self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            self._last = os.open(self._spare, os.O_WRONLY | os.O_CREAT, 0o644)
            os.write(self._last, b" " * RESERVE)
            os.fsync(self._last)
        except OSError as error:
            raise UnwritableOutput(f"cannot open the log '{path}': {error.strerror or error}; choose another place") from error
        self.spared = False

    def write(self, kind: str, **values: Any) -> None:
        """Append one record.

        Raises:
            OSError: the disk is full or gone.
        """
        line = _line({"kind": kind, **values})
        done = os.write(self._file, line)
        if done != len(line):
            raise OSError(28, "only a part of the record fits on the disk")

    def decide(self, what: str, **values: Any) -> None:
        """Append a decision and force it to the disk; into the spare file when the log takes no more."""
        record = jsonable({"kind": "decision", "what": what, **values})
        if not self.spared:
            try:
                self.write(**record)
                os.fsync(self._file)
                return
            except OSError:
                self.spared = True
        line = _line(record)
        if len(line) <= RESERVE:
            os.pwrite(self._last, line.ljust(RESERVE), 0)
            os.fsync(self._last)

    @property
    def descriptor(self) -> int:
        """The open file's number in the operating system."""
        return self._file

    def close(self) -> None:
        """Close the log; the spare file goes unless it was needed."""
        os.close(self._file)
        os.close(self._last)
        if not self.spared:
            self._spare.unlink(missing_ok=True)


def read_journal(path: Path) -> Iterator[dict[str, Any]]:
    """The records of a log in their order; a last line that was cut off is left out, the spare record comes last.

    Raises:
        MissingFile: there is no such log.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingFile(f"no log at '{path}'; `visual-irl run` writes one into its --out")
    spare = _spare_path(path)
    content = path.read_bytes() + (b"\n" + spare.read_bytes().strip() if spare.is_file() else b"")
    for line in content.split(b"\n"):
        check, _, text = line.partition(b" ")
        if text and check == b"%08x" % zlib.crc32(text):
            yield json.loads(text)


def last_outcome(path: Path) -> tuple[str, str]:
    """How the last execution in a log ended, and why; "died" when the log stops in the middle of it.

    Raises:
        MissingFile: there is no such log.
        UnreadableFile: no execution is in it.
    """
    outcome, reason = "", ""
    for record in read_journal(path):
        if record["kind"] == "cycle":
            where = f"last command at s = {record['s']:.3f} s of the motion"
        elif record["what"] == "begin":
            outcome, reason, where = "died", "", "no command was sent"
        elif record["what"] in ("stop", "FAULT"):
            reason = record["reason"]
            outcome = "fault" if record.get("fault", True) else outcome
        elif record["what"] == "end":
            outcome, reason = record["outcome"], record["reason"]
    if not outcome:
        raise UnreadableFile(f"'{path}' holds no execution: it ended before anything was to move")
    if outcome == "died":
        reason = f"the log stops while the arm moves, {where}: the commanding process died" + (f" ({reason})" if reason else "")
    return outcome, reason


def _line(record: dict[str, Any]) -> bytes:
    text = json.dumps(record, separators=(",", ":")).encode()
    return b"%08x %s\n" % (zlib.crc32(text), text)


def _spare_path(path: Path) -> Path:
    return path.with_name(path.name + ".last")
