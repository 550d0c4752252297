"""The inverse direction: the human arm that a robot's configuration stands for, consistent with how arms are laid before it.

The hand is exact: its pose is the one that `placed_arm` and `tool_rotation` would turn into the tool's. Wrist, shoulder and
limb lengths then leave the elbow a circle, on which it lies where the limbs are most nearly parallel to the robot's. So a
reward learned on people, which reads the hand, can be evaluated on a robot's state.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from visual_irl import se3
from visual_irl.errors import InvalidInput
from visual_irl.mapping.anatomy import PALM, SINGULAR, angles_of_arm, elbow_between, last_determined, torso_frame
from visual_irl.mapping.human_arm import GRASP_REACH, swivel_frame
from visual_irl.mapping.placement import Placement
from visual_irl.robots.chain import arm_states, chain_of
from visual_irl.robots.model import RobotModel
from visual_irl.types import KEYPOINTS, HumanArmTrajectory, keypoint_index, require_side

REACH_SLACK = 1e-6
"""How far beyond its reach a straight arm may end by rounding [m]."""


def equivalent_arm(
    robot: RobotModel,
    placement: Placement,
    q: Float[ndarray, "T J"],
    t: Float[ndarray, "T"],
    side: str,
    upper: float,
    fore: float,
    shoulder: Float[ndarray, "3"] | None = None,
    axes: Float[ndarray, "3 3"] | None = None,
    elbow_up: bool = False,
) -> HumanArmTrajectory:
    """The arm of a person whose hand is where the robot has it, with the elbow the robot's way; in the demonstration's frame.

    Mapping it with the same placement gives the robot's tool poses again. Where the hand is out of the person's reach it
    stays where it is, the upper arm points straight at the wrist, the forearm has another length, and the frame counts as
    not observed; `beyond_reach` says by how much. The hand counts as open throughout.

    Args:
        robot, placement: the arm, and how demonstrations are laid before it.
        q: joint angles [rad].
        t: times [s], strictly increasing.
        side: which arm of the person.
        upper, fore: the person's limb lengths [m].
        shoulder: the person's shoulder [m]; None for the robot's own, on which a free motion's is placed.
        axes: rows forward, lateral and up of the person's torso; None when it looks along +x.
        elbow_up: the forward map mirrors the upper arm upwards, so that this one must hang; as in `placed_targets`.

    Raises:
        InvalidInput: angles of the wrong shape or not finite, an unknown side, or lengths that are none.
    """
    require_side(side)
    if not (0.0 < upper < np.inf and 0.0 < fore < np.inf):
        raise InvalidInput(f"limb lengths are {upper} m and {fore} m; both must be positive")
    axes = torso_frame(side) if axes is None else axes
    Ts_world_tool, points = _robot_arm(robot, placement, q)
    shoulder = points[0, 0] if shoulder is None else np.asarray(shoulder, float)
    Ts_world_hand = hands_of_tools(placement, Ts_world_tool, shoulder)
    wrist = Ts_world_hand[:, :3, 3] - GRASP_REACH * Ts_world_hand[:, :3, 2]
    shoulders = np.tile(shoulder, (len(q), 1))
    bend = _bend(_unit(wrist - shoulders), points, upper / fore, axes, elbow_up)
    elbow = elbow_between(shoulders, wrist, upper, fore, bend)
    angles = angles_of_arm(axes, shoulders, elbow, wrist, Ts_world_hand[:, :3, :3])
    reached = np.abs(np.linalg.norm(wrist - elbow, axis=1) - fore) <= REACH_SLACK
    return HumanArmTrajectory(t, side, angles, shoulders, elbow, wrist, Ts_world_hand, reached, np.zeros(len(q)))


def hands_of_tools(
    placement: Placement, Ts_world_tool: Float[ndarray, "T 4 4"], shoulder: Float[ndarray, "3"]
) -> Float[ndarray, "T 4 4"]:
    """Poses of the human hand that tool poses stand for, both in the demonstration's frame: undoes `tool_rotation` and
    `placed_arm`; `shoulder` [m] matters to a placement that scales."""
    thumb, minus_palm, fingers = (Ts_world_tool[:, :3, k] for k in range(3))
    Ts = Ts_world_tool.copy()
    Ts[:, :3, :3] = np.stack([-minus_palm, thumb, fingers], axis=-1) @ se3.exp_so3(np.array([0.0, 0.0, -placement.tool_yaw]))
    if placement.arm_scale is not None:
        wrist = shoulder + (Ts[:, :3, 3] - placement.hand_length * fingers - shoulder) / placement.arm_scale
        Ts[:, :3, 3] = wrist + GRASP_REACH * fingers
    return Ts


def beyond_reach(arm: HumanArmTrajectory, upper: float, fore: float) -> Float[ndarray, "T"]:
    """How far the wrist is beyond what limbs of these lengths [m] reach [m]; negative where it is too near the shoulder."""
    reach = np.linalg.norm(arm.wrist - arm.shoulder, axis=1)
    return np.maximum(reach - (upper + fore), 0.0) + np.minimum(reach - abs(upper - fore), 0.0)


def equivalent_keypoints(arm: HumanArmTrajectory) -> Float[ndarray, "T K 3"]:
    """The keypoints [m] of an arm in the order of `KEYPOINTS`: shoulder, elbow, wrist and the knuckles that tell the hand's
    pose, of an adult's hand (`PALM`); all others are NaN."""
    _, thumb, fingers = (arm.Ts_world_hand[:, :3, k] for k in range(3))
    middle, half = arm.wrist + PALM[0] * fingers, 0.5 * PALM[1] * thumb
    points = {
        "shoulder": arm.shoulder, "elbow": arm.elbow, "wrist": arm.wrist, "hand_wrist": arm.wrist,
        "hand_middle_mcp": middle, "hand_index_mcp": middle + half, "hand_pinky_mcp": middle - half,
    }  # fmt: skip
    p_world = np.full((len(arm.t), len(KEYPOINTS), 3), np.nan)
    for name, p in points.items():
        p_world[:, keypoint_index(f"{arm.side}_{name}")] = p
    return p_world


def _robot_arm(robot: RobotModel, placement: Placement, q: ndarray) -> tuple[ndarray, ndarray]:
    """Tool poses (T, 4, 4), and shoulder, elbow and wrist points (T, 3, 3) [m], in the demonstration's frame."""
    q = np.ascontiguousarray(q, dtype=float)
    joints = len(robot.joint_names)
    if q.ndim != 2 or q.shape[1] != joints or not len(q):
        raise InvalidInput(f"robot '{robot.name}' has {joints} joints, got angles of shape {q.shape}; give one row a state")
    bad = ~np.isfinite(q).all(axis=1)
    if bad.any():
        raise InvalidInput(f"joint angles of state {int(np.argmax(bad))} are not finite ({q[np.argmax(bad)]})")
    Ts, points = arm_states(chain_of(robot), q)
    return placement.T_world_base @ Ts, se3.apply(placement.T_world_base, points)


def _bend(along: ndarray, points: ndarray, ratio: float, axes: ndarray, elbow_up: bool) -> ndarray:
    """The side (T, 3) of the line from shoulder to wrist on which the elbow is most like the robot's.

    On the circle the upper arm is c a + s b and the forearm (d a - upper (c a + s b)) / fore, for unit vectors a along the
    line and b normal to it. The sum of their cosines with the robot's limbs, u and f, is a constant plus s b (u - upper /
    fore f), so the best b lies along that vector's part normal to a. A straight robot arm does not determine it: the last
    determined one is kept (at the beginning the first one), and if there is none the elbow hangs.
    """
    u, f = _unit(points[:, 1] - points[:, 0]), _unit(points[:, 2] - points[:, 1])
    if elbow_up:
        u = u - (np.sum(u * axes[2], axis=1) + np.abs(np.sum(u * axes[2], axis=1)))[:, None] * axes[2]
    wanted = u - ratio * f
    normal = _normal_part(wanted, along)
    source = last_determined(np.linalg.norm(normal, axis=1) > SINGULAR, np.zeros(len(u), bool))
    lowest, _ = swivel_frame(along, axes)
    kept = _normal_part(normal[source], along)
    length = np.linalg.norm(kept, axis=1)
    return np.where(((source >= 0) & (length > 1e-9))[:, None], _unit(kept), lowest)


def _normal_part(v: ndarray, along: ndarray) -> ndarray:
    return v - np.sum(v * along, axis=1, keepdims=True) * along


def _unit(v: ndarray) -> ndarray:
    return v / np.maximum(np.linalg.norm(v, axis=-1, keepdims=True), 1e-12)
