"""Anatomical angles: known poses have the textbook angles, any pose survives the round trip, singular poses do not jump,
and the uncertainty is the one that noise brings about."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from visual_irl import se3
from visual_irl.errors import InvalidInput
from visual_irl.mapping import anatomy
from visual_irl.types import ARM_ANGLES, SIDES

UPPER, FORE = 0.29, 0.25
SHOULDER = np.array([[-0.1, -0.18, 0.33]])
LOW = np.array([-1.0, 0.2, -1.5, 0.2, -1.5, -1.2, -0.8])
HIGH = np.array([2.0, 2.8, 1.5, 2.4, 1.5, 1.2, 0.8])
WOBBLE = 2.0 * np.arcsin(anatomy.SINGULAR)
"""Most that a limb can be off near one singular pose [rad]: it and the held direction are both that near to the pose."""


def angles(upper: list[float], fore: list[float], thumb: list[float], side: str = "right", fingers: list[float] | None = None):
    elbow = SHOULDER + UPPER * np.array([upper], float)
    wrist = elbow + FORE * np.array([fore], float)
    R = anatomy.hand_orientation(np.array([fore if fingers is None else fingers], float), np.array([thumb], float))
    q = anatomy.angles_of_arm(anatomy.torso_frame(side), SHOULDER, elbow, wrist, R)
    return dict(zip(ARM_ANGLES, q[0], strict=True))


def moving(q: np.ndarray, side: str = "right"):
    """Points and hand of an arm that moves through angles (T, 7), about a fixed shoulder."""
    shoulder = np.tile(SHOULDER, (len(q), 1))
    elbow, wrist, R = anatomy.arm_of_angles(q, anatomy.torso_frame(side), shoulder, UPPER, FORE)
    return shoulder, elbow, wrist, R


def turn(A: np.ndarray, B: np.ndarray) -> np.ndarray:
    """Angles [rad] between orientations."""
    return Rotation.from_matrix(np.swapaxes(A, -1, -2) @ B).magnitude()


def test_flexed_shoulder_has_plane_ninety_degrees() -> None:
    q = angles([1, 0, 0], [0, 0, 1], [1, 0, 0])
    assert np.isclose(q["shoulder_plane"], np.pi / 2) and np.isclose(q["shoulder_elevation"], np.pi / 2)
    assert np.isclose(q["elbow_flexion"], np.pi / 2) and np.isclose(q["wrist_flexion"], 0.0)


@pytest.mark.parametrize(("side", "out"), [("right", -1.0), ("left", 1.0)])
def test_abducted_shoulder_has_plane_zero_on_either_side(side: str, out: float) -> None:
    q = angles([0, out, 0], [1, 0, 0], [0, 0, 1], side)
    assert np.isclose(q["shoulder_plane"], 0.0, atol=1e-9) and np.isclose(q["shoulder_elevation"], np.pi / 2)


@pytest.mark.parametrize(("side", "inwards"), [("right", 1.0), ("left", -1.0)])
def test_signs_are_the_anatomists(side: str, inwards: float) -> None:
    """A level forearm beside the body, palm down unless said: the thumb points inwards."""
    level = {"upper": [0.5, 0, -0.8], "fore": [1, 0, 0], "side": side}
    across = [0, inwards, 0]
    assert angles(**level, thumb=across)["forearm_rotation"] == pytest.approx(np.pi / 2)  # pronated
    assert angles(**level, thumb=[0, 0, 1])["forearm_rotation"] == pytest.approx(0.0)  # thumb up
    assert angles(**level, thumb=across, fingers=[1, 0, -0.4])["wrist_flexion"] == pytest.approx(np.arctan(0.4))
    assert angles(**level, thumb=across, fingers=[1, 0, 0.4])["wrist_flexion"] == pytest.approx(-np.arctan(0.4))
    outwards = [1, -0.3 * inwards, 0]  # away from the thumb: towards the ulna
    assert angles(**level, thumb=across, fingers=outwards)["wrist_deviation"] == pytest.approx(np.arctan(0.3))
    belly = [np.cos(0.6), inwards * np.sin(0.6), 0]
    assert angles([0.3, 0, -0.95], belly, [0, 0, 1], side)["shoulder_rotation"] > 0.5  # internal


def test_left_and_right_mirror_images_have_equal_angles() -> None:
    rng = np.random.default_rng(1)
    upper, fore, fingers, thumb = (v / np.linalg.norm(v) for v in rng.normal(size=(4, 3)))
    fingers = fore + 0.5 * fingers
    mirror = np.array([1.0, -1.0, 1.0])
    right = angles(list(upper), list(fore), list(thumb), "right", list(fingers))
    left = angles(*(list(v * mirror) for v in (upper, fore, thumb)), "left", list(fingers * mirror))
    assert np.allclose(list(right.values()), list(left.values()), atol=1e-9)


@settings(max_examples=60, deadline=None)
@given(shares=st.lists(st.floats(0.0, 1.0), min_size=7, max_size=7), side=st.sampled_from(SIDES))
def test_angles_to_arm_and_back(shares: list[float], side: str) -> None:
    q = (LOW + np.array(shares) * (HIGH - LOW))[None]
    shoulder, elbow, wrist, R = moving(q, side)
    assert np.isclose(np.linalg.norm(elbow - shoulder), UPPER) and np.isclose(np.linalg.norm(wrist - elbow), FORE)
    assert np.allclose(R.swapaxes(1, 2) @ R, np.eye(3)) and np.allclose(np.linalg.det(R), 1.0)
    assert np.allclose(anatomy.angles_of_arm(anatomy.torso_frame(side), shoulder, elbow, wrist, R), q, atol=1e-9)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), side=st.sampled_from(SIDES))
def test_any_points_to_angles_and_back(seed: int, side: str) -> None:
    """Arms without regard to what a body can do, in poses that stand alone; where one is singular, within its wobble."""
    rng = np.random.default_rng(seed)
    n = 20
    shoulder = rng.normal(size=(n, 3))
    elbow = shoulder + rng.normal(size=(n, 3))
    wrist = elbow + rng.normal(size=(n, 3))
    R = Rotation.random(n, random_state=rng).as_matrix()
    axes = anatomy.torso_frame(side)
    q = anatomy.angles_of_arm(axes, shoulder, elbow, wrist, R, np.ones(n, bool))
    lengths = (np.linalg.norm(elbow - shoulder, axis=1), np.linalg.norm(wrist - elbow, axis=1))
    elbow2, wrist2, R2 = anatomy.arm_of_angles(q, axes, shoulder, *lengths)
    limit = np.sin(3.0 * np.arcsin(anatomy.SINGULAR))
    regular = (np.sin(q[:, 1]) > limit) & (np.sin(q[:, 3]) > limit) & (np.cos(q[:, 5]) > limit)
    assert np.allclose(elbow2[regular], elbow[regular], atol=1e-9) and np.allclose(wrist2[regular], wrist[regular], atol=1e-9)
    assert (turn(R, R2)[regular] < 1e-7).all()
    assert (se3.angle_between(elbow2 - shoulder, elbow - shoulder) <= WOBBLE).all()
    assert (se3.angle_between(wrist2 - elbow2, wrist - elbow) <= 2.0 * WOBBLE).all()  # the shoulder's and its own
    assert (turn(R, R2) <= 3.0 * WOBBLE).all()  # and the wrist's


def test_alone_a_singular_pose_has_zero() -> None:
    hanging = angles([0, 0, -1], [1, 0, 0], [0, 0, 1])
    assert hanging["shoulder_plane"] == 0.0 and np.isclose(hanging["shoulder_elevation"], 0.0)
    overhead = angles([0, 0, 1], [0, 0, 1], [1, 0, 0])
    assert overhead["shoulder_plane"] == 0.0 and overhead["shoulder_rotation"] == 0.0
    bent_wrist = angles([1, 0, 0], [1, 0, 0], [0, 1, 0], fingers=[0, 0, 1])
    assert bent_wrist["forearm_rotation"] == 0.0 and np.isclose(abs(bent_wrist["wrist_flexion"]), np.pi / 2)
    assert all(np.isfinite([*hanging.values(), *overhead.values(), *bent_wrist.values()]))


S = np.linspace(-1.0, 1.0, 401)
STEADY = np.array([0.9, 0.8, 0.3, 1.0, 0.4, 0.2, 0.1])


def through(**paths: np.ndarray) -> np.ndarray:
    """Angles (T, 7) that stay but for the named ones."""
    q = np.tile(STEADY, (len(S), 1))
    for name, path in paths.items():
        q[:, ARM_ANGLES.index(name)] = path
    return q


def overhead_by(lean: float) -> np.ndarray:
    """The plane turns by half a turn while the arm passes the overhead pose at a small distance `lean` [rad]."""
    return np.pi - np.hypot(0.9 * S, lean)


PATHS = {
    "straight elbow": (through(elbow_flexion=np.abs(S)), ["shoulder_rotation"], "forearm_rotation", +1.0),
    "folded elbow": (through(elbow_flexion=np.pi - np.abs(S)), ["shoulder_rotation"], "forearm_rotation", -1.0),
    "hanging": (
        through(shoulder_elevation=np.hypot(0.9 * S, 0.01), shoulder_plane=0.9 + np.arctan2(S, 0.011)),
        ["shoulder_plane"], "shoulder_rotation", +1.0,
    ),
    "overhead": (
        through(shoulder_elevation=overhead_by(0.02), shoulder_plane=0.9 + np.arctan2(S, 0.022)),
        ["shoulder_plane"], "shoulder_rotation", -1.0,
    ),
    "wrist at a right angle": (through(wrist_flexion=np.pi / 2 - np.abs(S)), ["forearm_rotation"], "wrist_deviation", -1.0),
}  # fmt: skip


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("case", PATHS)
def test_through_a_singular_pose_nothing_determined_jumps(case: str, side: str) -> None:
    given_q, open_angles, partner, sign = PATHS[case]
    shoulder, elbow, wrist, R = moving(given_q, side)
    # the hand turns steadily, whatever the angles that made it do
    axes = anatomy.torso_frame(side)
    q = anatomy.angles_of_arm(axes, shoulder, elbow, wrist, R)
    determined = [k for k, name in enumerate(ARM_ANGLES) if name not in (*open_angles, partner)]
    step = np.abs(np.diff(q[:, determined], axis=0)).max()
    assert step < 2.0 * np.abs(np.diff(given_q[:, determined], axis=0)).max() + 0.02  # 0.02: the arm's own pace, 0.9 rad in 200
    first, second = ARM_ANGLES.index(open_angles[0]), ARM_ANGLES.index(partner)
    together = (q - given_q)[:, first] + sign * (q - given_q)[:, second]
    assert np.abs(np.exp(1j * together) - 1.0).max() < 1.5 * WOBBLE  # their sum is what the pose determines
    inside = np.isclose(np.diff(q[:, first]), 0.0, atol=0.0)
    assert inside.sum() > 5  # the open angle is held there
    elbow2, wrist2, R2 = anatomy.arm_of_angles(q, axes, shoulder, UPPER, FORE)
    assert np.linalg.norm(elbow2 - elbow, axis=1).max() <= UPPER * WOBBLE
    assert np.linalg.norm(wrist2 - wrist, axis=1).max() <= (UPPER + 2.0 * FORE) * WOBBLE
    assert turn(R, R2).max() <= 3.0 * WOBBLE
    regular = np.abs(S) > 0.1
    assert np.allclose(elbow2[regular], elbow[regular], atol=1e-9) and np.allclose(wrist2[regular], wrist[regular], atol=1e-9)


def test_a_straight_arm_keeps_its_rotation_and_the_forearm_takes_up_the_rest() -> None:
    """The elbow is straightened, the hand turned by a radian, the elbow bent again."""
    flexion = np.r_[np.linspace(0.8, 0.0, 40), np.zeros(40), np.linspace(0.0, 0.8, 40)]
    q = np.tile(STEADY, (120, 1))
    q[:, 3], q[:, 4] = flexion, np.r_[np.full(40, 0.4), np.linspace(0.4, 1.4, 40), np.full(40, 1.4)]
    back = anatomy.angles_of_arm(anatomy.torso_frame("right"), *moving(q))
    assert np.allclose(back[:, 2], q[:, 2], atol=1e-9) and np.allclose(back[:, 4], q[:, 4], atol=1e-9)


def test_at_the_beginning_the_first_determined_value_holds_and_no_other_recording_counts() -> None:
    q = np.tile(STEADY, (60, 1))
    q[:30, 3] = np.r_[np.zeros(10), np.linspace(0.0, 1.0, 20)]
    q[30:, 2], q[30:, 3] = -0.7, np.r_[np.zeros(10), np.linspace(0.0, 1.0, 20)]
    start = np.zeros(60, bool)
    start[30] = True
    axes = anatomy.torso_frame("right")
    back = anatomy.angles_of_arm(axes, *moving(q), start)
    assert np.allclose(back, q, atol=1e-9)
    alone = anatomy.angles_of_arm(axes, *moving(q), np.ones(60, bool))
    assert (alone[:10, 2] == 0.0).all() and (alone[30:40, 2] == 0.0).all()


def test_angles_are_unwrapped_inside_a_recording_only() -> None:
    q = np.tile(STEADY, (80, 1))
    q[:, 4] = np.r_[np.linspace(2.0, 4.0, 40), np.linspace(2.0, 4.0, 40)]
    start = np.arange(80) == 40
    back = anatomy.angles_of_arm(anatomy.torso_frame("left"), *moving(q, "left"), start)
    assert np.allclose(back, q, atol=1e-9)


def test_ranges_are_judged_by_the_nearest_turn() -> None:
    low, high = anatomy.RANGE_OF_MOTION.T
    assert (low < high).all()
    middle = 0.5 * (low + high)
    assert (anatomy.beyond_range(np.stack([middle, low + 1e-9, high - 1e-9, middle + 2.0 * np.pi])) == 0.0).all()
    excess = anatomy.beyond_range(np.stack([low - 0.1, high + 0.1, high + 0.1 - 2.0 * np.pi]))
    assert np.allclose(excess, [[-0.1], [0.1], [0.1]] * np.ones(7), atol=1e-9)


SIGMA = 0.002


def alike(sigma: float | np.ndarray, frames: int) -> np.ndarray:
    """Covariances (T, 6, 3, 3) of six points with these deviations [m], the same in all directions."""
    return np.tile(np.reshape(np.square(sigma) * np.ones(6), (6, 1, 1)) * np.eye(3), (frames, 1, 1, 1))


def noisy_angles(q: np.ndarray, side: str, samples: int, sigma: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Angles (N, 7) of one arm (1, 7) whose six points are disturbed, by taking the hand from its knuckles."""
    shoulder, elbow, wrist, R = moving(q, side)
    _, thumb, fingers = (R[:, :, k] for k in range(3))
    middle, half = wrist + anatomy.PALM[0] * fingers, 0.5 * anatomy.PALM[1] * thumb
    points = np.stack([shoulder, elbow, wrist, middle + half, middle, middle - half], axis=1)
    s, e, w, i, m, p = np.moveaxis(points + sigma[:, None] * rng.normal(size=(samples, 6, 3)), 1, 0)
    R = anatomy.hand_orientation(m - w, i - p)
    return anatomy.angles_of_arm(anatomy.torso_frame(side), s, e, w, R, np.ones(samples, bool))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("side", SIDES)
def test_sigmas_are_those_of_disturbed_points(seed: int, side: str) -> None:
    rng = np.random.default_rng(seed)
    q = rng.uniform([-1.0, 0.6, -1.5, 0.6, -1.5, -0.9, -0.6], [2.0, 2.5, 1.5, 2.4, 1.5, 0.9, 0.6], (1, 7))
    each = SIGMA * rng.uniform(0.3, 1.5, 6)
    measured = noisy_angles(q, side, 20000, each, rng) - q
    measured = np.sqrt((np.angle(np.exp(1j * measured)) ** 2).mean(axis=0))
    expected = anatomy.angle_sigmas(anatomy.torso_frame(side), *moving(q, side), alike(each, 1))[0]
    assert np.allclose(measured, expected, rtol=0.04)  # 20000 samples: 0.5 % each; the rest is second order


def test_sigmas_grow_without_bound_at_singular_poses() -> None:
    """Only those of the angles that the pose leaves open do."""
    near = np.array([1.0, 0.3, 0.1, 0.03, 1e-6, 0.0])
    axes = anatomy.torso_frame("right")
    cases = {
        "elbow_flexion": (near, {"shoulder_rotation", "forearm_rotation"}),
        "shoulder_elevation": (near, {"shoulder_plane", "shoulder_rotation"}),
        "wrist_flexion": (np.pi / 2 - near, {"forearm_rotation", "wrist_deviation"}),
    }
    for name, (path, open_angles) in cases.items():
        q = np.tile(STEADY, (len(near), 1))
        q[:, ARM_ANGLES.index(name)] = path
        sigmas = anatomy.angle_sigmas(axes, *moving(q), alike(SIGMA, len(q)))
        for k, angle in enumerate(ARM_ANGLES):
            if angle in open_angles:
                assert (np.diff(sigmas[:4, k]) > 0.0).all() and np.isinf(sigmas[-1, k]), (name, angle)
            else:
                assert (sigmas[:, k] < 0.1).all(), (name, angle)


def test_sigmas_scale_with_the_points() -> None:
    rng = np.random.default_rng(3)
    arm = moving(rng.uniform(LOW, HIGH, (5, 7)))
    axes = anatomy.torso_frame("right")
    one, two = (anatomy.angle_sigmas(axes, *arm, alike(s, 5)) for s in (1e-4, 2e-4))
    assert np.allclose(2.0 * one, two) and (anatomy.angle_sigmas(axes, *arm, alike(0.0, 5)) == 0.0).all()


def test_what_is_uncertain_along_one_direction_turns_with_the_arm() -> None:
    rng = np.random.default_rng(4)
    shoulder, elbow, wrist, R = moving(rng.uniform(LOW, HIGH, (5, 7)))
    axes, covariance = anatomy.torso_frame("right"), alike(SIGMA, 5) + np.diag([0.0, 0.0, 4e-4])
    A = Rotation.from_rotvec([0.4, -0.9, 0.3]).as_matrix()
    turned = anatomy.angle_sigmas(axes @ A.T, shoulder @ A.T, elbow @ A.T, wrist @ A.T, A @ R, A @ covariance @ A.T)
    sigmas = anatomy.angle_sigmas(axes, shoulder, elbow, wrist, R, covariance)
    assert np.allclose(turned, sigmas)
    level = anatomy.angle_sigmas(axes, shoulder, elbow, wrist, R, alike(SIGMA, 5))
    assert np.allclose(sigmas[:, 0], level[:, 0]), "what is uncertain is a height, and the plane of elevation has none"
    assert (sigmas[:, 1:] > level[:, 1:]).all()


@pytest.mark.parametrize(("row", "limb"), [("elbow", "upper arm"), ("wrist", "forearm"), ("hand", "hand")])
@pytest.mark.parametrize("bad", ["nan", "zero"])
def test_what_has_no_direction_is_one_clear_error(row: str, limb: str, bad: str) -> None:
    shoulder, elbow, wrist, R = (np.array(x) for x in moving(np.tile(STEADY, (8, 1))))
    if row == "hand":
        R[5] = np.nan if bad == "nan" else 0.0
    elif row == "elbow":
        elbow[5] = np.nan if bad == "nan" else shoulder[5]
    else:
        wrist[5] = np.nan if bad == "nan" else elbow[5]
    for f in (anatomy.angles_of_arm, lambda *a: anatomy.angle_sigmas(*a, alike(SIGMA, 8))):
        with pytest.raises(InvalidInput, match=f"frame 5: the {limb} is .* m long"):
            f(anatomy.torso_frame("right"), shoulder, elbow, wrist, R)


def test_parallel_knuckles_are_an_error() -> None:
    with pytest.raises(InvalidInput, match="frame 0: the line of the knuckles"):
        anatomy.hand_orientation(np.array([[0.1, 0.0, 0.0]]), np.array([[0.05, 0.0, 0.0]]))


def test_an_elbow_between_two_points_keeps_the_lengths_and_out_of_reach_the_line() -> None:
    shoulder, bend = np.zeros((3, 3)), np.tile([0.0, 0.0, -1.0], (3, 1))
    wrist = np.array([[0.4, 0.0, 0.0], [0.9, 0.0, 0.0], [0.02, 0.0, 0.0]])
    elbow = anatomy.elbow_between(shoulder, wrist, UPPER, FORE, bend)
    assert np.allclose(np.linalg.norm(elbow, axis=1), UPPER)
    assert np.isclose(np.linalg.norm(wrist[0] - elbow[0]), FORE) and elbow[0, 2] < 0.0
    assert np.allclose(elbow[1], [UPPER, 0.0, 0.0])
