"""ROS parameters are a spelling of the library's frozen configurations: names, defaults and docstrings come from there.

Nested components are dotted names. The configuration itself is what refuses a value, with its own message. What rclpy cannot
express (a mapping, None) is left at its default.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import textwrap
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from typing import Any, NamedTuple, TypeVar

from visual_irl.errors import InvalidInput, UnknownName, VisualIrlError

C = TypeVar("C")
_SCALARS = (bool, int, float, str)


class Parameter(NamedTuple):
    """One field of a configuration."""

    name: str
    default: Any
    description: str


def described(config: Any, prefix: str = "") -> Iterator[Parameter]:
    """Every field of a configuration that ROS can express, with its docstring (which states the unit)."""
    texts = _docstrings(type(config))
    for name in _names(config):
        value, text = getattr(config, name), texts.get(name, "")
        if _nested(value):
            yield from described(value, f"{prefix}{name}.")
        elif isinstance(value, _SCALARS):
            yield Parameter(prefix + name, value, text)
        elif isinstance(value, tuple) and value and all(isinstance(x, float) for x in value):
            yield Parameter(prefix + name, list(value), text)


def changed(config: C, values: Mapping[str, Any]) -> C:
    """The configuration with these (dotted) fields changed.

    Raises:
        UnknownName: no such field; lists them.
        InvalidInput: of another type, or refused by the configuration.
    """
    known = {p.name: p.default for p in described(config)}
    for name, value in values.items():
        if name not in known:
            raise UnknownName(f"unknown parameter '{name}'; known: {', '.join(known)}")
        kind = type(known[name])
        if not isinstance(value, kind) and not (kind is float and type(value) is int):
            raise InvalidInput(f"parameter '{name}' is {value!r}, expected a {kind.__name__}")
        if kind is list and len(value) != len(known[name]):
            raise InvalidInput(f"parameter '{name}' has {len(value)} values, expected {len(known[name])}")
        config = _with(config, name.split("."), value)
    return config


def _with(config: Any, path: list[str], value: Any) -> Any:
    name, *rest = path
    new = _with(getattr(config, name), rest, value) if rest else value
    if not rest and isinstance(getattr(config, name), tuple):
        new = tuple(float(x) for x in value)
    elif not rest and isinstance(getattr(config, name), float):
        new = float(value)
    return config._replace(**{name: new}) if hasattr(config, "_replace") else dataclasses.replace(config, **{name: new})


def _nested(value: Any) -> bool:
    return dataclasses.is_dataclass(value) or hasattr(value, "_fields")


def _names(config: Any) -> list[str]:
    return list(config._fields) if hasattr(config, "_fields") else [f.name for f in dataclasses.fields(config) if f.init]


def _docstrings(kind: type) -> dict[str, str]:
    """Field -> the string literal under its declaration."""
    body = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0].body  # type: ignore[attr-defined]
    texts = {}
    for field, below in pairwise(body):
        if isinstance(field, ast.AnnAssign) and isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
            texts[field.target.id] = " ".join(str(below.value.value).split())  # type: ignore[union-attr]
    return texts


def declare(node: Any, config: C, apply: Callable[[C], None] | None = None) -> C:
    """Declare a configuration's parameters on a node; returns it with the values that were given at the start.

    `apply` takes a new configuration at run time; without it changes are refused, with the way out.
    """
    from rcl_interfaces.msg import ParameterDescriptor, SetParametersResult

    names = []
    for p in described(config):
        descriptor = ParameterDescriptor(description=p.description, read_only=False)
        node.declare_parameter(p.name, p.default, descriptor)
        names.append(p.name)
    held = [changed(config, {name: _value(node.get_parameter(name)) for name in names})]

    def on_change(parameters: list[Any]) -> Any:
        mine = {p.name: _value(p) for p in parameters if p.name in names}
        if not mine:
            return SetParametersResult(successful=True)
        if apply is None:
            return SetParametersResult(successful=False, reason=f"{', '.join(mine)}: set at the start only; restart the node")
        try:
            new = changed(held[0], mine)
            apply(new)
        except VisualIrlError as error:
            return SetParametersResult(successful=False, reason=str(error))
        held[0] = new
        return SetParametersResult(successful=True)

    node.add_on_set_parameters_callback(on_change)
    return held[0]


def _value(parameter: Any) -> Any:
    value = parameter.value
    return list(value) if not isinstance(value, (*_SCALARS, type(None))) else value
