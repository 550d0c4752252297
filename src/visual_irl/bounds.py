"""What a configuration's numbers may be, said in one way: for files, command lines and ROS parameters alike.

A configuration calls `require_within` when it is made; whoever shows bounds to a person finds them by asking it.
"""

from __future__ import annotations

from typing import Any

from visual_irl.errors import InvalidInput

Bounds = tuple[float, float] | tuple[int, int]
"""Least and greatest allowed value, both included."""


def require_within(config: Any, least: float, most: float, **others: Bounds) -> None:
    """Refuse a configuration of which a number does not lie between two bounds.

    Args:
        config: a dataclass or named tuple; what is neither a number nor a tuple of numbers is left to itself.
        least: bound of every number that is not named, included.
        most: the other one.
        others: field -> bounds of its own.

    Raises:
        InvalidInput: a number lies outside, or is NaN; says which.
        AttributeError: `others` names a field that is not there.
    """
    values = config._asdict() if hasattr(config, "_asdict") else vars(config)
    for name in others.keys() - values.keys():
        raise AttributeError(f"{type(config).__name__} has no field '{name}'")
    for name, value in values.items():
        low, high = others.get(name, (least, most))
        for number in value if type(value) is tuple else (value,):
            if type(number) in (int, float) and not low <= number <= high:
                raise InvalidInput(f"{name} is {value}, must lie between {low:g} and {high:g}")
