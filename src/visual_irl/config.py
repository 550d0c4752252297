"""Configuration files: YAML (or the JSON sidecar of an artefact) as one spelling of a component's frozen dataclass.

A file names only what differs from the defaults; nested components are nested mappings, with the names of their fields.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml

from visual_irl.errors import InvalidInput, MissingFile, UnknownName, UnreadableFile

T = TypeVar("T")


def load_config(defaults: T, path: Path | None) -> T:
    """`defaults`, a configuration, with what a file changes of it; as it is when there is no file.

    Raises:
        MissingFile, UnreadableFile: nothing there, or not YAML.
        UnknownName: a name is not a field; lists the fields.
        InvalidInput: a value of the wrong type, or one that the configuration itself refuses.
    """
    if path is None:
        return defaults
    if not Path(path).is_file():
        raise MissingFile(f"no configuration at '{path}'; leave --config out for the defaults")
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UnreadableFile(f"'{path}' is not YAML: {str(error).splitlines()[0]}") from error
    if isinstance(content, Mapping) and {"artefact", "config"} <= content.keys():
        content = content["config"]  # a sidecar: make the same again
    return typing.cast(T, _read(type(defaults), {} if content is None else content, str(path), defaults))


def _read(kind: Any, value: Any, where: str, default: Any = None) -> Any:
    """`value` as `kind`: a dataclass, a tuple with or without names, or a plain type. Fields that it leaves out are those of
    `default`, where there is one."""
    if dataclasses.is_dataclass(kind) or hasattr(kind, "_fields"):
        return _read_fields(typing.cast(type, kind), value, where, default)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        (kind,) = [a for a in arguments if a is not type(None)]
        return _read(kind, value, where, default)
    if origin is tuple and len(arguments) == 2 and arguments[1] is Ellipsis:
        if not isinstance(value, (list, tuple)):
            raise InvalidInput(f"{where} is {value!r}, expected a list")
        return tuple(_read(arguments[0], v, f"{where}[{i}]") for i, v in enumerate(value))
    if origin is tuple:
        if not isinstance(value, (list, tuple)) or len(value) != len(arguments):
            raise InvalidInput(f"{where} is {value!r}, expected {len(arguments)} values")
        return tuple(_read(a, v, f"{where}[{i}]") for i, (a, v) in enumerate(zip(arguments, value, strict=True)))
    if kind is float and not isinstance(value, bool):
        try:
            return float(value)  # YAML 1.1 reads 1e-5, without a dot, as text
        except (TypeError, ValueError):
            raise InvalidInput(f"{where} is {value!r}, expected a number") from None
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise InvalidInput(f"{where} is {value!r} ({type(value).__name__}), expected {kind.__name__}")
    return value


def _read_fields(kind: type, value: Any, where: str, default: Any) -> Any:
    if not isinstance(value, Mapping):
        raise InvalidInput(f"{where} is {value!r}, expected a mapping of the fields of {kind.__name__}")
    hints = typing.get_type_hints(kind)
    names = getattr(kind, "_fields", None)  # of a named tuple, as compiled code takes them
    known = list(names) if names else [f.name for f in dataclasses.fields(kind) if f.init]
    for name in value:
        if name not in known:
            raise UnknownName(f"{where}: {kind.__name__} has no field '{name}'; it has: {', '.join(known)}")
    read = {name: _read(hints[name], v, f"{where}: {name}", getattr(default, name, None)) for name, v in value.items()}
    kept = {} if default is None else {name: getattr(default, name) for name in known}
    try:
        return kind(**kept | read)
    except InvalidInput as error:
        raise InvalidInput(f"{where}: {error}") from error
