"""Pictures of results show what matters, and no rounding."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from visual_irl.evaluation import pictures
from visual_irl.mapping.retarget import MappingReport


@pytest.mark.parametrize(("missed", "top", "said"), [(1e-13, 1e-3, {"hand"}), (0.05, 0.05, {"hand", "out of reach"})])
def test_the_hands_error_is_drawn_on_an_axis_of_a_millimetre_or_more(
    missed: float, top: float, said: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Figure] = []
    monkeypatch.setattr(pictures, "save_figure", lambda figure, path: drawn.append(figure))
    t, zeros, yes = np.linspace(0.0, 1.0, 11), np.zeros(11), np.ones(11, bool)
    error, reachable = np.where(t > 0.5, missed, 0.0), (t <= 0.5) | (missed < 1e-3)
    report = MappingReport(
        t, np.zeros((11, 6)), error, zeros, zeros + 0.3, zeros + 0.4, reachable, yes, yes, np.zeros((11, 4, 3)), 1.0, zeros,
        zeros, t,
    )  # fmt: skip
    pictures.plot_tracking(tmp_path / "tracking.png", report)
    hand = drawn[0].axes[0]
    assert 1e3 * top <= hand.get_ylim()[1] <= 1.2e3 * top
    assert {text.get_text() for text in hand.get_legend().get_texts()} == said
