"""The full text of a message's definition, with those of everything in it, as MCAP stores it (schema encoding ros2msg)."""

from __future__ import annotations

import importlib
import re
from functools import cache
from pathlib import Path
from typing import Any

from ament_index_python.packages import get_package_share_directory

SEPARATOR = "=" * 80
_FIELD = re.compile(r"^\s*([A-Za-z][\w/]*)(?:<=\d+)?(?:\[[^\]]*\])?\s+\w+")
_PLAIN = {
    "bool",
    "byte",
    "char",
    "string",
    "wstring",
    "float32",
    "float64",
    *(f"{u}int{n}" for u in ("", "u") for n in (8, 16, 32, 64)),
}


def type_of(kind: str) -> Any | None:
    """The class of `package/msg/Name`; None when its package is not installed (tf2_msgs is not among the wheels)."""
    package, _, name = kind.split("/")
    try:
        return getattr(importlib.import_module(f"{package}.msg"), name)
    except ModuleNotFoundError:
        return None


def definition_of(kind: str) -> str:
    """The definition of `package/msg/Name`, then each nested one under its `MSG:` line."""
    texts: dict[str, str] = {}
    _collect(kind, texts)
    first, *rest = texts
    parts = [texts[first]] + [f"{SEPARATOR}\nMSG: {_short(name)}\n{texts[name]}" for name in rest]
    return "\n".join(parts)


def _collect(kind: str, texts: dict[str, str]) -> None:
    if kind in texts:
        return
    package = kind.split("/")[0]
    texts[kind] = _text(kind)
    for line in texts[kind].splitlines():
        field = _FIELD.match(line.split("#")[0])
        if field and field[1] not in _PLAIN:
            inner = field[1].split("/")
            _collect(f"{inner[0] if len(inner) > 1 else package}/msg/{inner[-1]}", texts)


@cache
def _text(kind: str) -> str:
    package, _, name = kind.split("/")
    return (Path(get_package_share_directory(package)) / "msg" / f"{name}.msg").read_text()


def _short(kind: str) -> str:
    package, _, name = kind.split("/")
    return f"{package}/{name}"
