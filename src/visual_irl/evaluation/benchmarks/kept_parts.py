"""Parts of a long measurement that are done, beside its result: what was interrupted goes on where it was."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from visual_irl.io.artifacts import code_digest, jsonable


class KeptParts:
    """The finished parts of the measurement whose result will be `out`, made with exactly `config` by exactly this code."""

    def __init__(self, out: Path, config: object) -> None:
        self._path = out.with_suffix(".parts.jsonl")
        self._of = {"config": repr(config), "code": code_digest()}
        self._parts: dict[str, Any] = {}
        if self._path.is_file():
            for line in self._path.read_text().splitlines():
                try:
                    row = json.loads(line)
                except json.JSONDecodeError:
                    continue  # it was cut off: that part is measured again
                if {name: row.get(name) for name in self._of} == self._of:
                    self._parts[row["part"]] = row["value"]

    def get(self, part: str, measure: Callable[[], Any]) -> Any:
        """The value of a part as JSON knows it, measured only if it is not there yet."""
        if part not in self:
            self.keep(part, measure())
        return self[part]

    def __contains__(self, part: str) -> bool:
        return part in self._parts

    def __getitem__(self, part: str) -> Any:
        return self._parts[part]

    def keep(self, part: str, value: Any) -> None:
        """A part that is measured."""
        value = json.loads(json.dumps(jsonable(value)))
        with self._path.open("a") as file:
            file.write(json.dumps({**self._of, "part": part, "value": value}) + "\n")
        self._parts[part] = value

    def forget(self) -> None:
        """The result is written: the parts are not needed any more."""
        self._path.unlink(missing_ok=True)
