"""Bounds of a configuration's numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import pytest

from visual_irl.bounds import require_within
from visual_irl.errors import InvalidInput


class Weights(NamedTuple):
    near: float = 1.0


@dataclass(frozen=True)
class Config:
    share: float = 0.5
    pair: tuple[float, float] = (1.0, 2.0)
    count: int = 3
    name: str = "x"
    on: bool = True

    def __post_init__(self) -> None:
        require_within(self, 0.0, 1.0, pair=(0.0, 2.0), count=(1, 5))


@pytest.mark.parametrize(
    ("field", "value"),
    [("share", 1.01), ("share", float("nan")), ("pair", (0.5, -0.1)), ("pair", (float("nan"), 1.0)), ("count", 0)],
)
def test_a_number_outside_of_its_bounds_is_refused_by_name(field: str, value: object) -> None:
    with pytest.raises(InvalidInput, match=rf"{field} is .*must lie between"):
        Config(**{field: value})


def test_both_ends_are_allowed_and_what_is_no_number_is_left_alone() -> None:
    assert Config(share=1.0, pair=(0.0, 2.0), count=1, name="", on=False).count == 1
    require_within(Weights(0.0), 0.0, 1.0)
    with pytest.raises(InvalidInput, match="near"):
        require_within(Weights(2.0), 0.0, 1.0)
    with pytest.raises(AttributeError, match="nearest"):
        require_within(Weights(), 0.0, 1.0, nearest=(0.0, 1.0))
