"""The hand's state per frame, from its aperture and what it holds."""

from __future__ import annotations

import numpy as np
import pytest

from visual_irl.errors import InvalidInput
from visual_irl.perception.grasp import HandWatch, grasp_states
from visual_irl.perception.holding import HandPlace, Holding
from visual_irl.types import KEYPOINTS, Demonstration, HandState, KeypointFrame, ObjectEstimate, keypoint_index


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


def live_frame(i: int, hand: np.ndarray, aperture: float, objects: list[np.ndarray]) -> KeypointFrame:
    """The right hand's thumb, index and middle finger about a place, and onions of 30 mm."""
    p = np.full((len(KEYPOINTS), 3), np.nan)
    p[keypoint_index("right_hand_wrist")], p[keypoint_index("right_hand_middle_mcp")] = (
        hand + [-0.17, 0, 0],
        hand + [-0.07, 0, 0],
    )
    p[keypoint_index("right_wrist")] = hand + [-0.17, 0, 0]
    for tip, aside in (("thumb", 0.5), ("index", -0.5), ("middle", 0.0)):
        p[keypoint_index(f"right_hand_{tip}_tip")] = hand + [0.0, aside * aperture, 0.0]
    seen = np.isfinite(p).all(1)
    covariance = np.where(seen[:, None, None], 1e-4 * np.eye(3), np.nan)
    onions = tuple(ObjectEstimate("", "onion", q, 0.03, 0.9) for q in objects)
    return KeypointFrame(i * 66_000_000, p, covariance, seen.astype(float), np.full((len(KEYPOINTS), 2), np.nan), onions)


def test_a_live_hand_holds_what_it_takes_until_it_lets_go() -> None:
    """It passes over two onions, takes the second, hides it for a while, puts it down and leaves."""
    rng, watch = np.random.default_rng(0), HandWatch()
    stays, taken = np.array([0.2, -0.15, 0.03]), np.array([0.2, 0.0, 0.03])
    states: list[str] = []

    def go(a: np.ndarray, b: np.ndarray, aperture: float, holding: bool, hidden: bool = False) -> None:
        nonlocal taken
        for s in np.linspace(0.0, 1.0, 20):
            hand = a + s * (b - a)
            taken = hand + [0.0, 0.0, -0.02] if holding else taken
            seen = [q + rng.normal(0.0, 0.002, 3) for q in ([stays] if hidden else [stays, taken])]
            states.append(
                watch.step(live_frame(len(states), hand + rng.normal(0.0, 0.005, 3), aperture, seen)).hands["right"].grasp
            )

    rest, above, there = np.array([0.0, -0.3, 0.1]), np.array([0.2, 0.0, 0.05]), np.array([0.1, 0.25, 0.06])
    go(rest, stays + [0.0, 0.0, 0.04], 0.09, False)
    go(stays + [0.0, 0.0, 0.04], above, 0.09, False)
    assert set(states) == {"open"}
    go(above, above, 0.06, False)  # closes
    go(above, there + [0.0, 0.0, 0.2], 0.06, True)
    go(there + [0.0, 0.0, 0.2], there, 0.06, True, hidden=True)
    assert states[70:100] == ["holding"] * 30  # from 11 cm on
    go(there, there, 0.09, False)
    go(there, rest, 0.09, False)
    assert states[-10:] == ["open"] * 10


def test_a_live_hand_that_is_lost_is_unknown() -> None:
    watch, hand = HandWatch(), np.array([0.1, 0.0, 0.2])
    out = watch.step(live_frame(0, hand, 0.03, []))
    assert out.hands["right"].grasp == "closed" and out.hands["right"].aperture == pytest.approx(0.03)
    assert out.hands["left"].grasp == "unknown" and np.isnan(out.hands["left"].aperture)
    assert watch.step(live_frame(1, np.full(3, np.nan), 0.03, [])).hands["right"].grasp == "unknown"
    with pytest.raises(InvalidInput, match="known: unknown, open"):
        HandState(0.1, "fist")


@pytest.mark.parametrize("rate", [5.0, 15.0, 30.0])
def test_what_is_in_the_hand_from_the_first_picture_on_is_held_until_it_falls(rate: float) -> None:
    """A hand in mid-carry stops over a bin and lets go; its fingers' landmarks jump all the while."""
    rng, holding = np.random.default_rng(1), Holding()
    told: list[bool] = []
    thing = np.array([0.1, 0.0, 0.25])
    times = np.arange(0.0, 3.0, 1.0 / rate)
    for t in times:
        hand = np.array([0.1, 0.3 * min(t, 1.0), 0.27])
        fallen = max(0.0, t - 2.2)
        thing = np.array([0.1, hand[1], max(0.25 - 4.9 * fallen**2, 0.03)])
        place = HandPlace(hand + rng.normal(0.0, 0.005, 3), hand - [0.1, 0.0, 0.0], abs(rng.normal(0.05, 0.02)))
        told.append(holding.step(t, place, [ObjectEstimate("", "onion", thing + rng.normal(0.0, 0.002, 3), 0.03, 0.9)]))
    assert all(told[: round(2.2 * rate)]) and not any(told[round(2.2 * rate) + max(round(0.3 * rate), 1) :])


def test_a_hand_that_passes_holds_nothing_even_if_it_hides_what_lies_there() -> None:
    lies = ObjectEstimate("", "onion", np.array([0.2, 0.0, 0.03]), 0.03, 0.9)
    for hidden in (False, True):
        holding = Holding()
        for k, y in enumerate(np.linspace(-0.15, 0.15, 30)):
            hand = HandPlace(np.array([0.2, y, 0.06]), np.array([0.1, y, 0.08]), 0.06)
            assert not holding.step(k / 15.0, hand, [] if hidden and y > 0.0 else [lies])


def test_a_hand_that_comes_to_what_stands_on_something_high_does_not_hold_it_yet() -> None:
    holding, stands = Holding(), ObjectEstimate("", "onion", np.array([0.2, 0.0, 0.30]), 0.03, 0.9)
    for k, x in enumerate([*np.linspace(-0.1, 0.19, 15), *([0.19] * 10)]):
        place = HandPlace(np.array([x, 0.0, 0.31]), np.array([x - 0.1, 0.0, 0.31]), 0.07)
        assert not holding.step(k / 15.0, place, [stands])
