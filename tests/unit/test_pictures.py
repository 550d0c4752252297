"""Pictures of results show what matters, and no rounding."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from visual_irl import se3
from visual_irl.evaluation import pictures
from visual_irl.mapping.retarget import MappingReport
from visual_irl.types import HumanArmTrajectory


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


@pytest.mark.parametrize("elbow_up", [False, True])
def test_an_upper_arm_that_is_compared_mirrored_is_drawn_so(
    elbow_up: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Figure] = []
    monkeypatch.setattr(pictures, "save_figure", lambda figure, path: drawn.append(figure))
    t, zeros, yes = np.linspace(0.0, 1.0, 11), np.zeros(11), np.ones(11, bool)
    elbow, wrist = np.tile([0.1, 0.0, -0.28], (11, 1)), np.tile([0.3, 0.0, -0.2], (11, 1))
    hand = np.tile(se3.transform(np.eye(3), np.array([0.4, 0.0, -0.2])), (11, 1, 1))
    arm = HumanArmTrajectory(t, "right", np.zeros((11, 7)), np.zeros((11, 3)), elbow, wrist, hand, yes, zeros)
    points = np.tile([[0.0, 0.0, 0.0], [0.1, 0.0, 0.3], [0.3, 0.0, 0.2], [0.4, 0.0, -0.2]], (11, 1, 1))
    report = MappingReport(t, np.zeros((11, 6)), zeros, zeros, zeros, zeros, yes, yes, yes, points, 1.0, zeros, zeros, t)
    pictures.plot_arms(tmp_path / "arms.png", arm, report, "panda", elbow_up)
    side = drawn[0].axes[0]
    ends = [(line.get_xydata()[0], line.get_xydata()[-1]) for line in side.lines if "mirrored" in str(line.get_label())]
    assert len(ends) == elbow_up
    for shoulder, mirrored in ends:
        np.testing.assert_allclose([shoulder, mirrored], [[0.0, 0.0], [0.1, 0.28]])
    assert ("mirrored" in str([text.get_text() for text in drawn[0].legends[0].get_texts()])) == elbow_up
