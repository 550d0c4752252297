"""Every call of the package is checked for types and shapes, but not in long tests: there that takes most of the time."""

from __future__ import annotations

import jaxtyping
import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Before the fixtures, which run the same chains."""
    jaxtyping.config.update("jaxtyping_disable", item.get_closest_marker("long") is not None)
