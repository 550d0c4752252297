"""A package of somebody else's that was just installed: a module that the docs show, and its entry points."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


def code_in_docs(page: str, heading: str) -> str:
    """The first Python block below a heading of a page."""
    code = re.search(r"```python\n(.*?)```", (DOCS / page).read_text().split(f"## {heading}", 1)[1], re.DOTALL)
    assert code is not None
    return code[1]


def install(folder: Path, module: str, code: str, entry_points: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a package of one module where it is imported and its entry points are found."""
    (folder / f"{module}.py").write_text(code)
    info = folder / f"{module}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module.replace('_', '-')}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(entry_points)
    monkeypatch.syspath_prepend(folder)
