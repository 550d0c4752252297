"""A posable seated person: where the joints are and how the body's bones lie for a posture.

World frame of a task: table top z = 0, the person sits behind x = 0, faces +x, +y is the left. A bone's pose is the
transform that carries points of the rest mesh, so that skinning is a weighted sum of bone poses.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from visual_irl import se3
from visual_irl.errors import InvalidInput, Unreachable
from visual_irl.tasks.body import Body, load_rig, shape_rig
from visual_irl.types import KEYPOINTS, SIDES

MID_SHOULDERS = np.array([-0.15, 0.0, 0.33])
"""Where an upright person's shoulders meet the world [m]: seat height is set for this."""
FLOOR_Z = -0.72
"""The floor under the table top [m], an ordinary desk."""
REACH = 0.985
"""Share of the stretched arm that is used: people do not lock the elbow."""

GRASP = np.array([0.122, 0.060, 0.0])
"""Held object's centre from the wrist along the fingers, out of the palm and across [m], for stature 1."""
FINGERTIP = 0.014
"""From a tip's keypoint to the skin that touches, with the pad's give [m]."""

_LETTER = {"left": "L", "right": "R"}
_FINGERS = (2, 3, 4, 5)
_FLEXION = np.array([1.15, 1.35, 0.80])
"""Flexion [rad] of the three finger joints for curl 1: a fist."""
_OPPOSITION, _THUMB_FLEXION = np.array([0.55, 0.65, 0.70]), np.array([0.10, 0.35, 0.90])
"""Turn [rad] of the three thumb bones in front of the palm, and across it, for thumb 1."""


@dataclass(frozen=True)
class ArmPosture:
    """One arm: directions of upper arm, forearm and fingers, the palm's outward normal, and how closed the hand is.

    `curl` bends the fingers (0 straight as at rest, 1 fist, slightly negative stretched), `thumb` brings the thumb
    from the side (0) in front of the palm (1). The elbow must be bent: its hinge is upper x fore.
    """

    upper: Float[ndarray, "3"]
    fore: Float[ndarray, "3"]
    fingers: Float[ndarray, "3"]
    palm: Float[ndarray, "3"]
    curl: float = 0.1
    thumb: float = 0.2


@dataclass(frozen=True)
class Posture:
    """A seated posture: forward lean of the trunk, head pitch (down) and yaw (left) [rad], and both arms."""

    arms: Mapping[str, ArmPosture]
    lean: float = 0.0
    head_pitch: float = 0.25
    head_yaw: float = 0.0


def frame_of(first: Float[ndarray, "3"], second: Float[ndarray, "3"]) -> Float[ndarray, "3 3"]:
    """The right-handed frame whose first axis is along `first` and whose second is near `second`.

    Raises:
        InvalidInput: the directions are parallel, so the frame is not defined.
    """
    x = first / np.linalg.norm(first)
    y = second - (second @ x) * x
    norm = float(np.linalg.norm(y))
    if not norm > 1e-6 * float(np.linalg.norm(second)):
        raise InvalidInput(f"directions {first} and {second} are parallel; give two that span a plane")
    y = y / norm
    return np.stack([x, y, np.cross(x, y)], axis=1)


def turns_about(axis: Float[ndarray, "3"], angles: Float[ndarray, "T"]) -> Float[ndarray, "T 3 3"]:
    """Rotations by many angles [rad] about one unit axis (Rodrigues)."""
    K = se3.skew(axis)
    return np.eye(3) + np.sin(angles)[:, None, None] * K + (1.0 - np.cos(angles))[:, None, None] * (K @ K)


def elbow_of(
    shoulder: Float[ndarray, "3"],
    wrist: Float[ndarray, "3"],
    upper: float,
    fore: float,
    pole: Float[ndarray, "3"],
) -> Float[ndarray, "3"]:
    """The elbow [m] of an arm with lengths `upper` and `fore` [m], on the side that `pole` points to.

    The elbow lies on a circle about the line from shoulder to wrist (Tolani, Goswami and Badler 2000); `pole` picks
    its swivel angle.

    Raises:
        Unreachable: the wrist is farther than `REACH` of the stretched arm, or closer than the folded one.
    """
    axis = wrist - shoulder
    d = float(np.linalg.norm(axis))
    if not abs(upper - fore) + 0.05 < d <= REACH * (upper + fore):
        raise Unreachable(
            f"wrist target {np.round(wrist, 3)} is {d:.3f} m from the shoulder, outside of "
            f"{abs(upper - fore) + 0.05:.3f} to {REACH * (upper + fore):.3f} m; "
            "move the object or the bin closer, or use the other arm"
        )
    along = (d * d + upper * upper - fore * fore) / (2.0 * d)
    F = frame_of(axis, pole)
    return shoulder + along * F[:, 0] + np.sqrt(max(upper * upper - along * along, 0.0)) * F[:, 1]


class Human:
    """A person with the proportions of `body`, sitting at the table.

    Attributes:
        rig: the person's rest mesh and skeleton, at the seat.
        upper_length, fore_length: from shoulder to elbow and from elbow to wrist [m].
    """

    def __init__(self, body: Body) -> None:
        self.body = body
        self.rig = shape_rig(load_rig(), body)
        rig = self.rig
        self._row = {bone: i for i, bone in enumerate(rig.bones)}
        # the forearm turns about the line from elbow to wrist, which does not meet the head of its second bone
        self._pivot = {self._row[f"lowerarm02.{x}"]: self._row[f"lowerarm01.{x}"] for x in "LR"}
        mid = 0.5 * (rig.head("upperarm01.L") + rig.head("upperarm01.R"))
        self._seat = MID_SHOULDERS - mid
        self.upper_length = float(np.linalg.norm(rig.head("lowerarm01.L") - rig.head("upperarm01.L")))
        self.fore_length = float(np.linalg.norm(rig.head("wrist.L") - rig.head("lowerarm01.L")))
        self._rest_hand = {side: self._hand_frame(letter) for side, letter in _LETTER.items()}
        self._legs = self._leg_rotations()
        self._keypoint_row, self._keypoint_rest = self._rest_keypoints()

    def _rest_keypoints(self) -> tuple[ndarray, ndarray]:
        """For every keypoint the bone that carries it, and where it is at rest: bones' heads, tails for the tips."""
        bones = {"shoulder": "upperarm01", "elbow": "lowerarm01", "wrist": "wrist", "hip": "upperleg01"}
        for number, finger in enumerate(("thumb", "index", "middle", "ring", "pinky"), start=1):
            joints = ("cmc", "mcp", "ip") if finger == "thumb" else ("mcp", "pip", "dip")
            bones |= {f"{finger}_{joint}": f"finger{number}-{k}" for k, joint in enumerate(joints, start=1)}
            bones[f"{finger}_tip"] = f"finger{number}-3"
        rows, rest = [], []
        for keypoint in KEYPOINTS:
            side, _, name = keypoint.partition("_")
            row = self._row[f"{bones[name.removeprefix('hand_')]}.{_LETTER[side]}"]
            rows.append(row)
            rest.append((self.rig.tails if name.endswith("_tip") else self.rig.heads)[row])
        return np.array(rows), np.array(rest)

    def _hand_frame(self, letter: str) -> Float[ndarray, "3 3"]:
        """Rest frame of a hand: along the fingers (wrist to middle knuckle), out of the palm, and their cross."""
        wrist, index, middle, pinky = (self.rig.head(f"{b}.{letter}") for b in ("wrist", "finger2-1", "finger3-1", "finger5-1"))
        palm = np.cross(index - wrist, pinky - wrist)
        return frame_of(middle - wrist, palm if letter == "R" else -palm)

    def _leg_rotations(self) -> dict[str, ndarray]:
        """Thighs forward, shins upright, soles on the floor: the thigh's slope takes up what the seat height leaves."""
        out = {}
        lowest = self.rig.vertices[:, 2].min()
        for letter, y in (("L", 0.12), ("R", -0.12)):
            hip, knee, ankle = (self.rig.head(f"{b}.{letter}") for b in ("upperleg01", "lowerleg01", "foot"))
            thigh, shin = knee - hip, ankle - knee
            length = float(np.linalg.norm(thigh))
            rise = FLOOR_Z + (ankle[2] - lowest) + float(np.linalg.norm(shin)) - (hip + self._seat)[2]
            slope = np.arcsin(np.clip(rise / length, -0.7, 0.4))
            forward = np.array([np.cos(slope), y * np.cos(slope), np.sin(slope)])
            out[f"upperleg01.{letter}"] = se3.rotation_between(thigh, forward)
            out[f"lowerleg01.{letter}"] = se3.rotation_between(shin, np.array([0.0, 0.0, -1.0]))
            out[f"foot.{letter}"] = np.eye(3)
        return out

    def shoulders(self, lean: float) -> dict[str, Float[ndarray, "3"]]:
        """Shoulder centres [m] for a forward lean [rad] about the base of the spine."""
        pivot = self.rig.head("spine05") + self._seat
        R = se3.exp_so3(np.array([0.0, lean, 0.0]))
        return {
            side: pivot + R @ (self.rig.head(f"upperarm01.{letter}") + self._seat - pivot) for side, letter in _LETTER.items()
        }

    def bone_poses(self, posture: Posture) -> Float[ndarray, "N 4 4"]:
        """Poses of the bones: they carry points of the rest mesh into the world."""
        turn = dict(self._legs)
        lean = se3.exp_so3(np.array([0.0, posture.lean, 0.0]))
        turn["spine05"] = lean
        for share, bone in ((0.35, "neck01"), (0.7, "neck03"), (1.0, "head")):
            yaw = se3.exp_so3(np.array([0.0, 0.0, share * posture.head_yaw]))
            turn[bone] = yaw @ se3.exp_so3(np.array([0.0, share * posture.head_pitch + (1.0 - share) * posture.lean, 0.0]))
        for side in SIDES:
            turn |= self._arm_rotations(side, posture.arms[side])
        return self._chain(turn)

    def _chain(self, turn: Mapping[str, ndarray]) -> Float[ndarray, "N 4 4"]:
        """Forward kinematics. `turn` has the world rotation of a bone since rest; others move with their parent."""
        rig = self.rig
        Ts = np.zeros((len(rig.bones), 4, 4))
        Ts[:, 3, 3] = 1.0
        for i, bone in enumerate(rig.bones):
            p = rig.parents[i]
            parent = Ts[p] if p >= 0 else se3.transform(np.eye(3), self._seat)
            R = turn.get(bone)
            if R is None:
                Ts[i] = parent
                continue
            pivot = rig.heads[self._pivot.get(i, i)]
            Ts[i, :3, :3] = R
            Ts[i, :3, 3] = parent[:3, :3] @ pivot + parent[:3, 3] - R @ pivot
        return Ts

    def _arm_rotations(self, side: str, arm: ArmPosture) -> dict[str, ndarray]:
        """World rotations of one arm's bones since rest.

        The elbow is a hinge: both its bones share the normal of the arm's plane. The hand's turn about the forearm is
        spread over the forearm, as radius and ulna do.
        """
        letter = _LETTER[side]
        shoulder, elbow, wrist = (self.rig.head(f"{b}.{letter}") for b in ("upperarm01", "lowerarm01", "wrist"))
        rest_upper, rest_fore = elbow - shoulder, wrist - elbow
        rest_hinge, hinge = np.cross(rest_upper, rest_fore), np.cross(arm.upper, arm.fore)
        R_upper = frame_of(arm.upper, hinge) @ frame_of(rest_upper, rest_hinge).T
        R_fore = frame_of(arm.fore, hinge) @ frame_of(rest_fore, rest_hinge).T
        R_hand = frame_of(arm.fingers, arm.palm) @ self._rest_hand[side].T
        axis = rest_fore / np.linalg.norm(rest_fore)
        q = se3.quaternion_wxyz(R_fore.T @ R_hand)
        twist = 2.0 * np.arctan2(q[1:] @ axis, q[0])  # swing-twist split of the hand about the forearm
        out = {
            f"upperarm01.{letter}": R_upper,
            f"lowerarm01.{letter}": R_fore @ se3.exp_so3(0.2 * twist * axis),
            f"lowerarm02.{letter}": R_fore @ se3.exp_so3(0.6 * twist * axis),
            f"wrist.{letter}": R_hand,
        }
        return out | self._finger_rotations(side, R_hand, arm)

    def _finger_rotations(self, side: str, R_hand: ndarray, arm: ArmPosture) -> dict[str, ndarray]:
        letter, F = _LETTER[side], self._rest_hand[side]
        fingers, palm = F[:, 0], F[:, 1]
        bend = np.cross(fingers, palm)
        bent = R_hand @ turns_about(bend, arm.curl * np.cumsum(_FLEXION))
        out = {f"finger{f}-{joint}.{letter}": bent[joint - 1] for f in _FINGERS for joint in (1, 2, 3)}
        thumb_side = -bend if side == "left" else bend
        opposed = turns_about(np.cross(thumb_side, palm), arm.thumb * _OPPOSITION)
        flexed = turns_about(np.cross(thumb_side, fingers), arm.thumb * _THUMB_FLEXION)
        return out | {f"finger1-{joint}.{letter}": R_hand @ opposed[joint - 1] @ flexed[joint - 1] for joint in (1, 2, 3)}

    def grasp_centre(self, R_hand: Float[ndarray, "3 3"]) -> Float[ndarray, "3"]:
        """From the wrist to the centre of a held object [m]; columns of `R_hand`: fingers, palm normal, their cross."""
        return self.body.stature * (R_hand @ GRASP)

    def grip(self, side: str, radius: float) -> tuple[float, float]:
        """Curl and thumb that close the hand on a ball of `radius` [m] at the grasp centre.

        Raises:
            Unreachable: the ball is too small or too large for this hand.
        """
        down, ahead = np.array([0.0, 0.0, -1.0]), np.array([1.0, 0.0, 0.0])
        other = ArmPosture(down, ahead, ahead, down)
        middle, thumb = (KEYPOINTS.index(f"{side}_hand_{tip}") for tip in ("middle_tip", "thumb_tip"))
        wrist = KEYPOINTS.index(f"{side}_hand_wrist")
        centre = self.grasp_centre(frame_of(ahead, down))
        amounts = np.linspace(0.0, 1.0, 26)
        gaps = []
        for amount in amounts:
            arm = ArmPosture(down, ahead, ahead, down, curl=0.6 * amount, thumb=amount)
            points = self.keypoints(self.bone_poses(Posture({s: arm if s == side else other for s in SIDES})))
            gaps.append([np.linalg.norm(points[k] - points[wrist] - centre) for k in (middle, thumb)])
        touch = np.array(gaps) <= radius + FINGERTIP * self.body.stature
        if touch[0].any() or not touch.any(0).all():
            raise Unreachable(f"a hand of stature {self.body.stature:.2f} cannot close on a ball of radius {radius:.3f} m")
        curl, opposed = amounts[touch.argmax(0)]
        return float(0.6 * curl), float(opposed)

    def keypoints(self, Ts_bone: Float[ndarray, "N 4 4"]) -> Float[ndarray, "50 3"]:
        """The true joint centres [m] in the order of `visual_irl.types.KEYPOINTS`."""
        Ts = Ts_bone[self._keypoint_row]
        return np.einsum("kij,kj->ki", Ts[:, :3, :3], self._keypoint_rest) + Ts[:, :3, 3]

    def skin(self, Ts_bone: Float[ndarray, "N 4 4"]) -> Float[ndarray, "V 3"]:
        """Vertices of the posed mesh [m] by linear blend skinning."""
        blended = np.einsum("vk,vkij->vij", self.rig.bone_weight, Ts_bone[self.rig.bone_index])
        return np.einsum("vij,vj->vi", blended[:, :3, :3], self.rig.vertices) + blended[:, :3, 3]
