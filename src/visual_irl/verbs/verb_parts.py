"""What several verbs of the command line are made of: a choice between functions by name, and a seed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import reduce
from operator import or_
from typing import Annotated, Any

from tyro.conf import subcommand
from tyro.constructors import PrimitiveConstructorSpec

from visual_irl.errors import InvalidInput


def choice(table: Mapping[str, Callable[..., Any]], told: Mapping[str, str | None] | None = None) -> Any:
    """The functions as tyro takes them for one to be chosen by its name; `told` describes some otherwise than they do."""
    told = told or {}
    return reduce(or_, (Annotated[Any, subcommand(n, constructor=do, description=told.get(n))] for n, do in table.items()))


def _seed(text: list[str]) -> int:
    seed = int(text[0])
    if seed < 0:
        raise InvalidInput(f"seed {seed} is negative; give a whole number from 0 on")
    return seed


Seed = Annotated[
    int,
    PrimitiveConstructorSpec(
        nargs=1,
        metavar="INT",
        instance_from_str=_seed,
        is_instance=lambda value: isinstance(value, int),
        str_from_instance=lambda value: [str(value)],
    ),
]
"""A seed of random numbers, which is never negative."""
