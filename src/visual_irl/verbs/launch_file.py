"""What a ROS launch file of this project starts, read from its source without `launch` being installed.

Understood are literal calls of `DeclareLaunchArgument`, `Node` and `LifecycleNode` with `LaunchConfiguration` for values, also
joined in lists. Anything else in a description is refused, so that what is started without launch is what launch starts.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from visual_irl.errors import InvalidInput, MissingFile, UnknownName


@dataclass(frozen=True)
class Argument:
    """A launch argument."""

    name: str
    default: str
    description: str


@dataclass(frozen=True)
class _Value:
    """Text with arguments in it."""

    parts: tuple[tuple[bool, str], ...]

    def filled(self, arguments: Mapping[str, str]) -> str:
        return "".join(arguments[text] if is_argument else text for is_argument, text in self.parts)

    @property
    def needs(self) -> set[str]:
        return {text for is_argument, text in self.parts if is_argument}


@dataclass(frozen=True)
class LaunchedNode:
    """One node: where it is, what it is called, its parameters and remappings."""

    package: str
    executable: str
    name: str
    parameters: Mapping[str, _Value]
    remappings: tuple[tuple[str, _Value], ...]
    ends_all: bool
    """Whether the others are stopped when it ends."""

    def command(self, program: Path, arguments: Mapping[str, str]) -> list[str]:
        """How to start it with these launch arguments."""
        line = [str(program), "--ros-args", "-r", f"__node:={self.name}"]
        for name, value in self.remappings:
            line += ["-r", f"{name}:={value.filled(arguments)}"]
        for name, value in self.parameters.items():
            line += ["-p", f"{name}:={_spelled(value.filled(arguments))}"]
        return line


@dataclass(frozen=True)
class LaunchFile:
    """A launch file's arguments and nodes."""

    path: Path
    arguments: tuple[Argument, ...]
    nodes: tuple[LaunchedNode, ...]

    def resolved(self, given: Mapping[str, str]) -> dict[str, str]:
        """Every argument's value.

        Raises:
            UnknownName: an argument that the file does not have; lists those it has.
        """
        known = {a.name: a.default for a in self.arguments}
        for name in given:
            if name not in known:
                raise UnknownName(f"'{self.path.name}' has no argument '{name}'; it has: {', '.join(known)}")
        return {**known, **given}


def read_launch_file(path: Path) -> LaunchFile:
    """The content of a launch file.

    Raises:
        MissingFile: nothing is there.
        InvalidInput: something in it is not understood, or names an argument that is not declared; says the line.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingFile(f"no launch file at '{path}'")
    tree = ast.parse(path.read_text(encoding="utf-8"))
    lists = [
        call.args[0]
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "LaunchDescription" and call.args
    ]
    if len(lists) != 1 or not isinstance(lists[0], ast.List):
        raise InvalidInput(f"'{path}' needs one LaunchDescription([...])")
    arguments, nodes = [], []
    for entry in lists[0].elts:
        if not isinstance(entry, ast.Call) or not isinstance(entry.func, ast.Name):
            raise _strange(path, entry)
        fields = {k.arg: k.value for k in entry.keywords if k.arg}
        if entry.func.id == "DeclareLaunchArgument":
            texts = {name: _literal(path, value) for name, value in fields.items()}
            name = _literal(path, entry.args[0])
            arguments.append(Argument(name, texts.get("default_value", ""), texts.get("description", "")))
        elif entry.func.id in ("Node", "LifecycleNode"):
            nodes.append(_node(path, fields))
        else:
            raise _strange(path, entry)
    declared = {a.name for a in arguments}
    for node in nodes:
        for value in (*node.parameters.values(), *(v for _, v in node.remappings)):
            if not value.needs <= declared:
                raise InvalidInput(f"'{path}': node '{node.name}' uses undeclared {', '.join(sorted(value.needs - declared))}")
    return LaunchFile(path, tuple(arguments), tuple(nodes))


def _node(path: Path, fields: Mapping[str, ast.expr]) -> LaunchedNode:
    known = {"package", "executable", "name", "namespace", "parameters", "remappings", "output", "on_exit"}
    if not {"package", "executable", "name"} <= fields.keys() <= known:
        raise InvalidInput(
            f"'{path}': a node has {', '.join(fields)}; package, executable and name are needed, of {known} known"
        )
    ends = fields.get("on_exit")
    if ends is not None and ast.unparse(ends) != "Shutdown()":
        raise _strange(path, ends)
    parameters: dict[str, _Value] = {}
    for part in _elements(path, fields.get("parameters", ast.List([]))):
        if not isinstance(part, ast.Dict):
            raise _strange(path, part)
        for key, value in zip(part.keys, part.values, strict=True):
            parameters[_literal(path, key)] = _value(path, value)
    remappings = []
    for pair in _elements(path, fields.get("remappings", ast.List([]))):
        if not isinstance(pair, ast.Tuple) or len(pair.elts) != 2:
            raise _strange(path, pair)
        remappings.append((_literal(path, pair.elts[0]), _value(path, pair.elts[1])))
    package, executable, name = (_literal(path, fields[k]) for k in ("package", "executable", "name"))
    return LaunchedNode(package, executable, name, parameters, tuple(remappings), ends is not None)


def _elements(path: Path, node: ast.expr) -> list[ast.expr]:
    if not isinstance(node, ast.List):
        raise _strange(path, node)
    return node.elts


def _literal(path: Path, node: ast.expr | None) -> str:
    if not isinstance(node, ast.Constant) or not isinstance(node.value, str):
        raise _strange(path, node)
    return node.value


def _value(path: Path, node: ast.expr) -> _Value:
    if isinstance(node, ast.List):
        return _Value(tuple(part for item in node.elts for part in _value(path, item).parts))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "LaunchConfiguration":
        return _Value(((True, _literal(path, node.args[0])),))
    return _Value(((False, _literal(path, node)),))


def _strange(path: Path, node: ast.AST | None) -> InvalidInput:
    return InvalidInput(f"'{path}', line {getattr(node, 'lineno', '?')}: this part of a launch file is not understood")


def _spelled(text: str) -> str:
    """As launch_ros does: what reads as YAML of another type is that, everything else is text."""
    return text if text and not isinstance(yaml.safe_load(text), str) else f"'{text}'"
