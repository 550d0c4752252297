"""ROS parameters are a spelling of the library's frozen configurations: names, defaults and docstrings come from there.

Nested components are dotted names. The configuration itself is what refuses a value, with its own message. What rclpy cannot
express (a mapping, None) is left at its default.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import math
import textwrap
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from itertools import pairwise
from typing import Any, NamedTuple, TypeVar

from visual_irl.errors import InvalidInput, UnknownName, VisualIrlError

C = TypeVar("C")
_SCALARS = (bool, int, float, str)
_FARTHEST = 1 << 40
"""What a configuration takes that far from the default, it takes without bound."""
_INT64 = (1 << 63) - 1


class Parameter(NamedTuple):
    """One field of a configuration."""

    name: str
    default: Any
    description: str
    bounds: tuple[float, float] | None = None
    """Least and greatest number that the configuration takes; None where it takes any, or is no number."""


def described(config: Any) -> Iterator[Parameter]:
    """Every field of a configuration that ROS can express, with its docstring (which states the unit) and its bounds."""
    for p in _fields(config):
        yield p._replace(bounds=bounds_of(config, p.name))


def _fields(config: Any, prefix: str = "") -> Iterator[Parameter]:
    texts = _docstrings(type(config))
    for name in _names(config):
        value, text = getattr(config, name), texts.get(name, "")
        if _nested(value):
            yield from _fields(value, f"{prefix}{name}.")
        elif isinstance(value, _SCALARS):
            yield Parameter(prefix + name, value, text)
        elif isinstance(value, tuple) and value and all(isinstance(x, float) for x in value):
            yield Parameter(prefix + name, list(value), text)


def bounds_of(config: Any, name: str) -> tuple[float, float] | None:
    """Between which numbers a (dotted) field of a configuration may lie while the others keep their values.

    The component that the field belongs to is asked, so that what is declared and what is refused cannot differ: the largest
    step away from the default that it takes is found by halving.
    """
    component, _, rest = name.partition(".")
    if dataclasses.is_dataclass(inner := getattr(config, component)):
        return bounds_of(inner, rest)
    default = {p.name: p.default for p in _fields(config)}[name]
    if isinstance(default, bool) or not isinstance(default, (int, float)):
        return None

    def takes(value: float) -> bool:
        try:
            _with(config, name.split("."), value)
        except (VisualIrlError, ArithmeticError, ValueError):
            return False
        return True

    ends = [_farthest(takes, default, sign) for sign in (-1, 1)]
    return None if ends == [-math.inf, math.inf] else (ends[0], ends[1])


def _farthest(takes: Callable[[Any], bool], default: float, sign: int) -> float:
    whole = isinstance(default, int)
    near, far = 0, _FARTHEST if whole else float(_FARTHEST)
    if takes(default + sign * far):
        return sign * math.inf
    for _ in range(100):
        middle = (near + far) // 2 if whole else 0.5 * (near + far)
        if middle in (near, far):
            break
        near, far = (middle, far) if takes(default + sign * middle) else (near, middle)
    short = float(f"{default + sign * near:.12g}")  # 0.0001, not what is left of it by the way from the default
    return short if not whole and takes(short) else default + sign * near


def changed(config: C, values: Mapping[str, Any]) -> C:
    """The configuration with these (dotted) fields changed.

    Raises:
        UnknownName: no such field; lists them.
        InvalidInput: of another type, or refused by the configuration.
    """
    known = {p.name: p.default for p in _fields(config)}
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


@cache  # bounds are found by asking a hundred times
def _docstrings(kind: type) -> dict[str, str]:
    """Field -> the string literal under its declaration."""
    body = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0].body  # type: ignore[attr-defined]
    texts = {}
    for field, below in pairwise(body):
        if isinstance(field, ast.AnnAssign) and isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
            texts[field.target.id] = " ".join(str(below.value.value).split())  # type: ignore[union-attr]
    return texts


def fixed(node: Any, name: str, default: Any, description: str) -> Any:
    """The value of a parameter of the node itself, which can be set at the start only."""
    from rcl_interfaces.msg import ParameterDescriptor

    text = f"{description}; set at the start only"
    return node.declare_parameter(name, default, ParameterDescriptor(description=text, read_only=True)).value


def declare(node: Any, config: C, apply: Callable[[C], None] | None = None) -> C:
    """Declare a configuration's parameters on a node; returns it with the values that were given at the start.

    `apply` takes a new configuration at run time; without it changes are refused, with the way out.
    """
    from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult

    names = []
    for p in described(config):
        descriptor = ParameterDescriptor(description=p.description)
        if p.bounds is not None and isinstance(p.default, float):
            descriptor.floating_point_range = [FloatingPointRange(from_value=p.bounds[0], to_value=p.bounds[1])]
        elif p.bounds is not None:
            least, greatest = (int(max(-_INT64, min(b, _INT64))) for b in p.bounds)
            descriptor.integer_range = [IntegerRange(from_value=least, to_value=greatest)]
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
