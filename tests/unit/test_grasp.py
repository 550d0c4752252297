"""The hand's state per frame, from its aperture and what it holds."""

from __future__ import annotations

import numpy as np

from visual_irl.perception.grasp import grasp_states
from visual_irl.types import KEYPOINTS, Demonstration, keypoint_index


def test_states_follow_aperture_and_what_is_held_with_hysteresis() -> None:
    aperture = np.array([0.12, 0.065, 0.03, 0.065, np.nan, 0.03, 0.03, 0.11])  # palm: 0.1 m
    held = ("", "", "", "", "", "onion_0", "onion_0", "")
    n = len(aperture)
    p = np.zeros((n, len(KEYPOINTS), 3))
    p[:, keypoint_index("right_hand_middle_mcp")] = [0.0, 0.1, 0.0]
    demo = Demonstration(
        t=np.arange(n) / 10.0,
        side="right",
        p_world=p,
        covariance=np.ones((*p.shape, 3)),
        seen=np.ones(n, bool),
        aperture=aperture,
        objects={"onion_0": np.zeros((n, 3))},
        radii={"onion_0": 0.03},
        attributes={"onion_0": {}},
        held=held,
        fixtures={},
        frame="world",
        task="onion_sorting",
        provenance={},
    )
    wanted = ("open", "open", "closed", "closed", "unknown", "holding", "holding", "open")
    assert grasp_states(demo) == wanted
