"""Elbow and wrist find their depth although something hides them, and the person's limbs are learned."""

from __future__ import annotations

import numpy as np
import pytest

from visual_irl.perception.skeleton.arm_depth import ALONG, ArmBefore, ArmDepthConfig, LimbLengths, arm_depth

CONFIG = ArmDepthConfig()
KNOWN = LimbLengths((0.28, 0.26), (0.004, 0.004))
SHOULDER = np.array([-0.18, -0.10, 1.10])


def arm(bend: float, forward: float) -> np.ndarray:
    """Elbow and wrist (2, 3) [m]: the upper arm hangs back by `bend`, the forearm points ahead by `forward` [rad]."""
    elbow = SHOULDER + 0.28 * np.array([-0.2, np.cos(bend) * 0.98, np.sin(bend) * 0.98])
    return np.array([elbow, elbow + 0.26 * np.array([0.0, -np.sin(0.2), -np.cos(0.2)]) @ turn(forward)])


def turn(angle: float) -> np.ndarray:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]])


def skin(p: np.ndarray) -> np.ndarray:
    """Depth of the skin at the pixels of elbow and wrist: that of a cone about the forearm and a cylinder about the upper arm,
    as thick as the arm is there."""
    along, above = ((b - a) / np.linalg.norm(b - a) for a, b in ((p[0], p[1]), (SHOULDER, p[0])))
    rays = p / np.linalg.norm(p, axis=1, keepdims=True)
    across = np.linalg.norm(np.cross(rays, along), axis=1)
    across[0] = min(across[0], float(np.linalg.norm(np.cross(rays[0], above))))
    distance = np.array([CONFIG.radius_elbow, CONFIG.radius_wrist]) / np.maximum(across, CONFIG.steepest)
    return p[:, 2] - distance * rays[:, 2]


def solve(
    p: np.ndarray,
    measured: np.ndarray,
    shape_error: float = 0.0,
    before: ArmBefore | None = None,
    along: np.ndarray | None = None,
):
    z_shape = np.array([SHOULDER[2], p[0, 2] + shape_error, p[1, 2] + shape_error])
    return arm_depth(SHOULDER, p / p[:, 2:], measured, z_shape, KNOWN, CONFIG, before=before, z_along=along)


def skin_along(p: np.ndarray) -> np.ndarray:
    """What is seen between the joints of such an arm, (2, M) [m]."""
    joints, radii = np.array([SHOULDER, *p]), (CONFIG.radius_shoulder, CONFIG.radius_elbow, CONFIG.radius_wrist)
    seen = np.empty((2, len(ALONG)))
    for limb in range(2):
        a, b = joints[limb : limb + 2]
        for k, share in enumerate(ALONG):
            z = 1.0 / ((1.0 - share) / a[2] + share / b[2])
            ray = (1.0 - share) * a / a[2] + share * b / b[2]
            across = np.linalg.norm(np.cross(ray / np.linalg.norm(ray), (b - a) / np.linalg.norm(b - a)))
            radius = (1.0 - share) * radii[limb] + share * radii[limb + 1]
            seen[limb, k] = z - radius / max(across, CONFIG.steepest) / np.linalg.norm(ray)
    return seen


def either_way() -> tuple[np.ndarray, np.ndarray]:
    """Elbow and wrist (2, 3) [m], and where the same pixel has another elbow, nearer by 0.3 m, on limbs of the same lengths."""
    elbow = SHOULDER + 0.28 * np.array([-0.3, 0.75, 0.5895])
    ray = elbow / np.linalg.norm(elbow)
    other = elbow - 2.0 * ((elbow - SHOULDER) @ ray) * ray  # where the ray meets the sphere about the shoulder first
    aside = np.cross(ray, [0.0, 1.0, 0.0])
    reach = np.sqrt(0.26**2 - 0.25 * np.sum((elbow - other) ** 2))
    return np.array([elbow, 0.5 * (elbow + other) + reach * aside / np.linalg.norm(aside)]), other


@pytest.mark.parametrize("bend", [0.0, 0.4, 0.8])
@pytest.mark.parametrize("forward", [-0.6, 0.0, 0.6])
def test_seen_joints_keep_their_measured_depth(bend: float, forward: float) -> None:
    p = arm(bend, forward)
    found = solve(p, skin(p))
    assert (
        np.abs(found.z_own - p[:, 2]).max() < 0.006 and np.abs(found.z - p[:, 2]).max() < 0.006
    )  # within the grid's step of 15 mm
    assert (found.own > 0.9).all() and (found.sigma < 0.02).all()


@pytest.mark.parametrize("forward", [-0.6, 0.0, 0.6])
def test_an_elbow_behind_its_own_forearm_is_found_by_its_limbs(forward: float) -> None:
    """The usual case when a hand reaches for the camera: the picture's depth there is the forearm's, 0.2 m too near."""
    p = arm(0.5, forward)
    found = solve(p, skin(p) - [0.20, 0.0], shape_error=-0.10)
    assert abs(found.z[0] - p[0, 2]) < 0.03  # limbs fix it but for the 18 mm by which lengths between landmarks err
    assert abs(found.z[1] - p[1, 2]) < 0.01
    assert found.own[0] < 0.1 and found.own[1] > 0.9
    assert found.sigma[0] > solve(p, skin(p)).sigma[0]


def test_unknown_depth_widens_the_interval() -> None:
    p = arm(0.3, 0.2)
    seen, blind = solve(p, skin(p)), solve(p, np.array([np.nan, np.nan]))
    assert (blind.sigma > 2.0 * seen.sigma).all() and (blind.own < 1e-6).all()
    assert (np.abs(blind.z - p[:, 2]) < 3.0 * blind.sigma).all()


def test_what_lies_behind_is_hardly_believed() -> None:
    """A pixel that misses the wrist shows the wall: the wrist is not put there."""
    p = arm(0.3, 0.2)
    found = solve(p, skin(p) + [0.0, 1.0])
    assert abs(found.z[1] - p[1, 2]) < 0.06 and found.own[1] < 0.1


@pytest.mark.parametrize("seed", range(5))
def test_limb_lengths_are_learned_and_outliers_are_not(seed: int) -> None:
    rng = np.random.default_rng(seed)
    lengths, true = LimbLengths(), np.array([0.30, 0.235])
    for i in range(300):
        measured = true + rng.normal(0.0, 0.02, 2)
        if i % 4 == 3:
            measured = measured - [0.12, 0.15]  # a joint that was hidden
        if i % 7 == 6:
            measured[0] = np.nan
        lengths = lengths.updated((float(measured[0]), float(measured[1])))
    assert np.abs(np.array(lengths.length) - true).max() < 0.008
    assert max(lengths.sigma) < 0.01 and min(lengths.sigma) >= 0.004


def test_an_elbow_does_not_jump_to_what_hides_it_while_its_wrist_stays() -> None:
    """A thing before it, where limbs would be as long: and the shape is wrong.

    Only what was seen a moment ago tells."""
    p, other = either_way()
    assert 0.25 < p[0, 2] - other[2] < 0.45
    hidden = np.array([skin(np.array([other, p[1]]))[0], skin(p)[1]])
    assert solve(p, hidden, -0.15).z[0] < p[0, 2] - 0.2
    for age, wrist in ((0.033, p[1]), (0.2, p[1] + [0.01, 0.01, 0.0])):
        found = solve(p, hidden, -0.15, before=ArmBefore(p[0] + [0.01, 0.0, 0.02], wrist, age))
        assert abs(found.z[0] - p[0, 2]) < 0.03 and found.own[0] < 0.1, age
    assert solve(p, hidden, -0.15, before=ArmBefore(p[0], p[1], 2.0)).z[0] < p[0, 2] - 0.2  # it had the time to go there


def test_an_elbow_goes_with_a_fast_hand() -> None:
    """Whatever way the hand goes at 4 m/s, at 8 pictures a second; skin that is seen is not doubted."""
    p = arm(0.4, 0.3)
    alone = solve(p, skin(p))
    for way in np.vstack([np.eye(3), -np.eye(3)]):
        found = solve(p, skin(p), before=ArmBefore(p[0] - 0.25 * way, p[1] - 0.5 * way, 0.125))
        assert np.abs(found.z - alone.z).max() < 0.003 and (found.own > 0.9).all()


def test_an_elbow_that_swings_beside_a_still_hand_is_followed() -> None:
    """At 2 m/s and 30 pictures a second; at once, as its own skin is seen."""
    p = arm(0.4, 0.3)
    found = solve(p, skin(p), before=ArmBefore(p[0] + [0.0, 0.02, 0.063], p[1], 0.033))
    assert np.abs(found.z - solve(p, skin(p)).z).max() < 0.005 and found.own[0] > 0.9


@pytest.mark.parametrize("forward", [-0.4, 0.4])
def test_a_forearm_tells_how_deep_the_wrist_is_that_something_hides(forward: float) -> None:
    """A bottle before the wrist, and a shape that has the forearm lie across: its mirror image has the same pixels."""
    p = arm(0.3, forward)
    ahead, hidden = p[1, 2] - p[0, 2], np.array([skin(p)[0], skin(p)[1] - 0.25])
    along = skin_along(p)
    along[1, -1] = np.nan  # goes behind it, too
    blind = arm_depth(SHOULDER, p / p[:, 2:], hidden, np.array([1.1, p[0, 2], p[0, 2]]), KNOWN, CONFIG)
    found = arm_depth(SHOULDER, p / p[:, 2:], hidden, np.array([1.1, p[0, 2], p[0, 2]]), KNOWN, CONFIG, z_along=along)
    assert ahead < -0.2 and found.own[1] < 0.1 and 0.6 < found.forearm < 0.67 and blind.forearm == 0.0
    assert abs(found.z[1] - p[1, 2]) < 0.02 and found.sigma[1] < 0.5 * blind.sigma[1]


def test_something_before_a_whole_limb_is_not_taken_for_it() -> None:
    """The other forearm across the upper arm, or a bottle along the forearm: what is seen at the joints is believed."""
    p = arm(0.4, 0.2)
    for limb in range(2):
        along = skin_along(p)
        along[limb] -= 0.15
        found = solve(p, skin(p), along=along)
        assert np.abs(found.z - p[:, 2]).max() < 0.006 and (found.own > 0.9).all()
