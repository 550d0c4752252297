"""Plug-ins by name: a table of name -> ("module:Class", how to install what it needs), imported only when asked for.

Other packages add rows through entry points of the group `visual_irl.<kind>`; a name that is taken is refused.
"""

from __future__ import annotations

import importlib
from importlib.metadata import entry_points
from typing import Any

from visual_irl.errors import InvalidInput, MissingDependency, UnknownName


class Registry:
    """The plug-ins of one kind, e.g. `Registry("robots", {...}).load("panda")`."""

    def __init__(self, kind: str, table: dict[str, tuple[str, str]]) -> None:
        self.kind, self.noun = kind, kind.removesuffix("s").replace("_", " ")
        self._table = dict(table)
        for point in entry_points(group=f"visual_irl.{kind}"):
            self.register(point.name, point.value, f"install what the package '{point.dist.name if point.dist else '?'}' needs")

    def register(self, name: str, target: str, install: str) -> None:
        """Add `name` -> `target` ("module:attribute"); a name that exists is refused."""
        if name in self._table:
            raise InvalidInput(f"{self.noun} '{name}' is already registered as {self._table[name][0]}; choose another name")
        self._table[name] = (target, install)

    @property
    def names(self) -> tuple[str, ...]:
        """Every registered name, sorted."""
        return tuple(sorted(self._table))

    def load(self, name: str) -> Any:
        """The object registered as `name`.

        Raises:
            UnknownName: lists the known names.
            MissingDependency: a package that it needs is absent; says how to install it.
        """
        if name not in self._table:
            raise UnknownName(f"unknown {self.noun} '{name}'; known: {', '.join(self.names)}")
        target, way = self._table[name]
        module, _, attribute = target.partition(":")
        try:
            return getattr(importlib.import_module(module), attribute)
        except ModuleNotFoundError as error:
            raise MissingDependency(f"{self.noun} '{name}' needs the package '{error.name}': {way}") from error
