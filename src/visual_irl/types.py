"""The vocabulary: what flows between the stages, and the conventions, stated once.

World and robot base frames have z up; in a task's world frame the table top is z = 0, the person (or robot) looks
along +x and has +y on the left. Camera frames are optical (x right, y down, z forward). SI units everywhere: m, rad,
s, N, kg. Depth is metres along the camera's z, and NaN where it is not known. Sensor time is integer nanoseconds
(`stamp_ns`), trajectory time is seconds from the start (`t`).

Dimension letters: T time, H W image, K keypoints, J robot joints, F features, B batch.

Every type is frozen and copies its arrays; shapes and finiteness are checked when it is built.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8
from numpy import ndarray

from visual_irl.errors import InvalidInput
from visual_irl.se3 import is_rigid, is_rotation

SIDES = ("left", "right")

BODY_KEYPOINTS = tuple(f"{side}_{name}" for side in SIDES for name in ("shoulder", "elbow", "wrist", "hip"))
"""Body joint centres."""

HAND_LANDMARKS = (
    "wrist",
    *(f"thumb_{n}" for n in ("cmc", "mcp", "ip", "tip")),
    *(f"{f}_{n}" for f in ("index", "middle", "ring", "pinky") for n in ("mcp", "pip", "dip", "tip")),
)
"""The 21 points of one hand in MediaPipe's order."""

HAND_KEYPOINTS = tuple(f"{side}_hand_{name}" for side in SIDES for name in HAND_LANDMARKS)

KEYPOINTS = BODY_KEYPOINTS + HAND_KEYPOINTS
"""Every keypoint of a frame in its order (50)."""
_ROW = {name: row for row, name in enumerate(KEYPOINTS)}


_RIGID = 1e-3
"""How far poses that came from elsewhere may be from orthonormal."""


def require_side(side: str) -> None:
    """Refuse what is no side of a body.

    Raises:
        InvalidInput: lists the sides.
    """
    if side not in SIDES:
        raise InvalidInput(f"side '{side}' is unknown; known: {', '.join(SIDES)}")


def keypoint_index(name: str) -> int:
    """Row of a keypoint in `p_world`; an unknown name lists the known ones."""
    if name not in _ROW:
        raise InvalidInput(f"unknown keypoint '{name}'; known: {', '.join(KEYPOINTS)}")
    return _ROW[name]


def _frozen(value: Any, what: str, shape: tuple[int | None, ...], dtype: Any = float, finite: bool = True) -> ndarray:
    """A read-only copy of `value` whose shape matches (None: any length) and which is finite unless told otherwise."""
    array = np.array(value, dtype=dtype)
    if array.ndim != len(shape) or any(s is not None and s != a for s, a in zip(shape, array.shape, strict=False)):
        raise InvalidInput(f"{what} has shape {array.shape}, expected {tuple('any' if s is None else s for s in shape)}")
    if finite and array.dtype.kind == "f" and not np.isfinite(array).all():
        first = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise InvalidInput(f"{what} is {array[first]} at index {first}; every value must be finite")
    array.setflags(write=False)
    return array


def _times(value: Any, what: str) -> ndarray:
    """A read-only copy of the times [s] of `what`: two or more, each later than the one before."""
    t = _frozen(value, f"{what} times", (None,))
    if len(t) < 2:
        raise InvalidInput(f"{what} has {len(t)} samples; at least 2 are needed")
    if not (np.diff(t) > 0).all():
        at = int(np.argmax(np.diff(t) <= 0))
        raise InvalidInput(
            f"{what} times must increase strictly: sample {at + 1} is at {t[at + 1]} s, the one before at {t[at]} s"
        )
    return t


def _set(obj: Any, **values: Any) -> None:
    for name, value in values.items():
        object.__setattr__(obj, name, value)


@dataclass(frozen=True)
class Intrinsics:
    """Pinhole camera: focal lengths and principal point [px], image size [px]."""

    fx: float
    fy: float
    cx: float
    cy: float
    width: int
    height: int

    def __post_init__(self) -> None:
        numbers = (self.fx, self.fy, self.cx, self.cy)
        if not (all(map(math.isfinite, numbers)) and self.fx > 0 and self.fy > 0 and self.width > 0 and self.height > 0):
            raise InvalidInput(f"camera intrinsics must be finite, with positive focal lengths and size, got {self}")

    @property
    def K(self) -> Float[ndarray, "3 3"]:
        """The camera matrix."""
        return np.array([[self.fx, 0.0, self.cx], [0.0, self.fy, self.cy], [0.0, 0.0, 1.0]])

    def project(self, p_camera: Float[ndarray, "*B 3"]) -> Float[ndarray, "*B 2"]:
        """Pixels (u, v) of points [m] in the optical frame; NaN behind the camera."""
        with np.errstate(divide="ignore", invalid="ignore"):
            z = np.where(p_camera[..., 2] > 1e-6, p_camera[..., 2], np.nan)
            return np.stack([self.fx * p_camera[..., 0] / z + self.cx, self.fy * p_camera[..., 1] / z + self.cy], -1)

    def back_project(self, uv: Float[ndarray, "*B 2"], depth: Float[ndarray, "*B"]) -> Float[ndarray, "*B 3"]:
        """Points [m] in the optical frame of pixels at `depth` [m]; NaN depth gives NaN."""
        return np.stack([(uv[..., 0] - self.cx) / self.fx * depth, (uv[..., 1] - self.cy) / self.fy * depth, depth], -1)

    @classmethod
    def from_fov(cls, width: int, height: int, horizontal: float) -> Intrinsics:
        """A camera without distortion whose horizontal field of view is `horizontal` [rad]."""
        f = 0.5 * width / np.tan(0.5 * horizontal)
        return cls(f, f, 0.5 * width - 0.5, 0.5 * height - 0.5, width, height)


@dataclass(frozen=True)
class RgbdFrame:
    """One picture. `depth` [m] is aligned to the colour picture and None for a plain video.

    `T_world_camera` is None when the camera is not calibrated to a world frame.
    Images are not copied (they are large) but made read-only.
    """

    stamp_ns: int
    rgb: UInt8[ndarray, "H W 3"]
    depth: Float32[ndarray, "H W"] | None
    intrinsics: Intrinsics
    T_world_camera: Float[ndarray, "4 4"] | None

    def __post_init__(self) -> None:
        if self.rgb.ndim != 3 or self.rgb.shape[2] != 3 or self.rgb.dtype != np.uint8:
            raise InvalidInput(f"colour image has shape {self.rgb.shape} and type {self.rgb.dtype}, expected (H, W, 3) uint8")
        size = (self.intrinsics.height, self.intrinsics.width)
        if self.rgb.shape[:2] != size:
            raise InvalidInput(f"colour image is {self.rgb.shape[:2]}, its camera info says {size} (height, width)")
        if self.depth is not None and self.depth.shape != self.rgb.shape[:2]:
            raise InvalidInput(
                f"depth image is {self.depth.shape} but colour is {self.rgb.shape[:2]}: depth must be aligned to colour "
                "(RealSense: align_depth.enable:=true)"
            )
        for image in (self.rgb, self.depth):
            if image is not None:
                image.setflags(write=False)
        if self.T_world_camera is not None:
            _set(self, T_world_camera=_frozen(self.T_world_camera, "T_world_camera", (4, 4)))


@dataclass(frozen=True)
class ObjectEstimate:
    """One object seen in one frame: track `name`, `label` (its class), centre [m], radius [m], attributes in [0, 1].

    A thing that stands has a `height` [m] and an `axis`, the unit vector from its foot to its mouth.
    """

    name: str
    label: str
    p_world: Float[ndarray, "3"]
    radius: float
    confidence: float
    attributes: Mapping[str, float] = field(default_factory=dict)
    height: float | None = None
    axis: Float[ndarray, "3"] | None = None

    def __post_init__(self) -> None:
        _set(self, p_world=_frozen(self.p_world, f"position of object '{self.name}'", (3,)))
        if (self.height is None) != (self.axis is None):
            raise InvalidInput(f"object '{self.name}' has a height without an axis, or an axis without a height; give both")
        if self.axis is not None:
            _set(self, axis=_frozen(self.axis, f"axis of object '{self.name}'", (3,)))


GRASPS = ("unknown", "open", "closed", "holding")
"""What a hand does; unknown where its fingers are not seen and nothing is known to be in it."""


@dataclass(frozen=True)
class HandState:
    """What a hand does in one frame: from thumb tip to index tip [m], NaN where they are lost, and one of `GRASPS`."""

    aperture: float
    grasp: str

    def __post_init__(self) -> None:
        if self.grasp not in GRASPS:
            raise InvalidInput(f"grasp '{self.grasp}' is unknown; known: {', '.join(GRASPS)}")


@dataclass(frozen=True)
class KeypointFrame:
    """Joint centres [m] of one person in one frame, ordered as `KEYPOINTS`; a lost one is NaN with confidence 0.

    `covariance` [m^2] is that of each place, `uv` [px] the 2D landmarks, for pictures. `hands` are those of a live stream, by
    side; they follow from the frames before, too, and are empty elsewhere.
    """

    stamp_ns: int
    p_world: Float[ndarray, "K 3"]
    covariance: Float[ndarray, "K 3 3"]
    confidence: Float[ndarray, "K"]
    uv: Float[ndarray, "K 2"]
    objects: tuple[ObjectEstimate, ...] = ()
    hands: Mapping[str, HandState] = field(default_factory=dict)

    def __post_init__(self) -> None:
        k = len(KEYPOINTS)
        _set(
            self,
            p_world=_frozen(self.p_world, "keypoint positions", (k, 3), finite=False),
            covariance=_frozen(self.covariance, "keypoint covariances", (k, 3, 3), finite=False),
            confidence=_frozen(self.confidence, "keypoint confidences", (k,)),
            uv=_frozen(self.uv, "keypoint pixels", (k, 2), finite=False),
        )

    @property
    def person(self) -> bool:
        """Whether any keypoint was found."""
        return bool((self.confidence > 0).any())


@dataclass(frozen=True)
class Demonstration:
    """What was extracted from one recording: the person and the objects over time, in the world frame.

    A keypoint that was lost is NaN; `covariance` [m^2] is that of each place. `seen` tells frames with a person from frames
    without one. `held` names the object in the hand per frame ('' for none). `fixtures` are things that do not move (bins, the
    inspection place is not one: it is learned). `turns` are the orientations of objects of which they are known, and `heights`
    [m] those of things that stand: their path is then that of the foot's centre, and z of their orientation is their axis.
    `frame` says what the world is: 'world' (calibrated) or 'torso' (a plain video: origin at the demonstrating shoulder, x
    forward, y left, z up).
    """

    t: Float[ndarray, "T"]
    side: str
    p_world: Float[ndarray, "T K 3"]
    covariance: Float[ndarray, "T K 3 3"]
    seen: Bool[ndarray, "T"]
    aperture: Float[ndarray, "T"]
    objects: Mapping[str, Float[ndarray, "T 3"]]
    radii: Mapping[str, float]
    attributes: Mapping[str, Mapping[str, float]]
    held: tuple[str, ...]
    fixtures: Mapping[str, Float[ndarray, "4 4"]]
    frame: str
    task: str
    provenance: Mapping[str, Any]
    turns: Mapping[str, Float[ndarray, "T 3 3"]] = field(default_factory=dict)
    heights: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        t = _times(self.t, "demonstration")
        n = len(t)
        require_side(self.side)
        if len(self.held) != n:
            raise InvalidInput(f"demonstration has {n} frames but {len(self.held)} entries of held")
        for name in {*self.held, *self.turns, *self.heights} - {"", *self.objects}:
            raise InvalidInput(f"demonstration tells of an object '{name}' without its path; known: {', '.join(self.objects)}")
        for name in self.objects:
            if name not in self.radii or name not in self.attributes:
                raise InvalidInput(f"demonstration lacks the radius or the attributes of object '{name}'")
        for what, sizes in (("radius", self.radii), ("height", self.heights)):
            for name, size in sizes.items():
                if not 0.0 < size < np.inf:
                    raise InvalidInput(f"{what} of object '{name}' is {size} m, must be above 0")
        k = len(KEYPOINTS)
        _set(
            self,
            t=t,
            p_world=_frozen(self.p_world, "demonstration keypoints", (n, k, 3), finite=False),
            covariance=_frozen(self.covariance, "demonstration covariances", (n, k, 3, 3), finite=False),
            seen=_frozen(self.seen, "demonstration seen flags", (n,), dtype=bool),
            aperture=_frozen(self.aperture, "hand aperture", (n,), finite=False),
            objects={o: _frozen(p, f"path of object '{o}'", (n, 3)) for o, p in self.objects.items()},
            fixtures={f: _frozen(T, f"pose of fixture '{f}'", (4, 4)) for f, T in self.fixtures.items()},
            turns={o: _frozen(R, f"orientation of object '{o}'", (n, 3, 3)) for o, R in self.turns.items()},
        )
        if np.isinf(self.p_world).any():
            raise InvalidInput("demonstration keypoints hold an infinite place; a lost one is NaN")
        for name, T in self.fixtures.items():
            if not is_rigid(T, _RIGID):
                raise InvalidInput(f"pose of fixture '{name}' is no rigid transform: {np.round(T, 4).tolist()}")
        for name, R in self.turns.items():
            if not is_rotation(R, _RIGID):
                k = next(k for k, each in enumerate(R) if not is_rotation(each, _RIGID))
                raise InvalidInput(f"orientation of object '{name}' is no rotation in frame {k}: {np.round(R[k], 4).tolist()}")

    def keypoint(self, name: str) -> Float[ndarray, "T 3"]:
        """Path [m] of one keypoint by its name; of the demonstrating arm when the name has no side."""
        if name not in KEYPOINTS:
            name = f"{self.side}_{name}"
        return self.p_world[:, keypoint_index(name)]


ARM_ANGLES = (
    "shoulder_plane",
    "shoulder_elevation",
    "shoulder_rotation",
    "elbow_flexion",
    "forearm_rotation",
    "wrist_flexion",
    "wrist_deviation",
)
"""The seven angles of a human arm, in the order of `HumanArmTrajectory.q`."""


@dataclass(frozen=True)
class HumanArmTrajectory:
    """A human arm over time, without gaps: joint centres [m], hand poses, seven angles [rad], limb lengths [m].

    A hand pose has its origin at the grasp centre, between thumb and fingers; its columns are the palm normal (out of
    the palm on a right hand, out of the back on a left one, so that the frame is right-handed), the thumb side, and
    along the fingers. `observed` is false where the arm was lost and its path bridged. `grip` is in [0, 1], 1 closed.
    """

    t: Float[ndarray, "T"]
    side: str
    q: Float[ndarray, "T 7"]
    shoulder: Float[ndarray, "T 3"]
    elbow: Float[ndarray, "T 3"]
    wrist: Float[ndarray, "T 3"]
    Ts_world_hand: Float[ndarray, "T 4 4"]
    observed: Bool[ndarray, "T"]
    grip: Float[ndarray, "T"]

    def __post_init__(self) -> None:
        t = _times(self.t, "human arm")
        n = len(t)
        require_side(self.side)
        _set(
            self,
            t=t,
            q=_frozen(self.q, "human arm angles", (n, len(ARM_ANGLES))),
            shoulder=_frozen(self.shoulder, "shoulder path", (n, 3)),
            elbow=_frozen(self.elbow, "elbow path", (n, 3)),
            wrist=_frozen(self.wrist, "wrist path", (n, 3)),
            Ts_world_hand=_frozen(self.Ts_world_hand, "hand poses", (n, 4, 4)),
            observed=_frozen(self.observed, "observed flags", (n,), dtype=bool),
            grip=_frozen(self.grip, "grip", (n,)),
        )

    def cut(self, part: slice) -> HumanArmTrajectory:
        """Some of the samples."""
        return replace(self, **{f.name: getattr(self, f.name)[part] for f in fields(self) if f.name != "side"})


@dataclass(frozen=True)
class JointTrajectory:
    """A robot's motion: joint names, `t` [s], `q` [rad], `qd` [rad/s], and the gripper opening [m] per sample."""

    joint_names: tuple[str, ...]
    t: Float[ndarray, "T"]
    q: Float[ndarray, "T J"]
    qd: Float[ndarray, "T J"]
    opening: Float[ndarray, "T"]

    def __post_init__(self) -> None:
        t = _times(self.t, "trajectory")
        n, j = len(t), len(self.joint_names)
        _set(
            self,
            t=t,
            q=_frozen(self.q, "trajectory positions", (n, j)),
            qd=_frozen(self.qd, "trajectory velocities", (n, j)),
            opening=_frozen(self.opening, "gripper opening", (n,)),
        )


@dataclass(frozen=True)
class ExecutionReport:
    """What happened when a trajectory was executed: outcome, message, measured motion and tracking error [rad]."""

    outcome: str
    message: str
    t: Float[ndarray, "T"]
    q_measured: Float[ndarray, "T J"]
    tracking_rms: float
    details: Mapping[str, Any]


@dataclass(frozen=True)
class HandPlan:
    """What a policy wants the hand to do: hand poses as in `HumanArmTrajectory`, grip in [0, 1], and the arm's swivel.

    The swivel [rad] is the elbow's angle about the line from shoulder to wrist, 0 straight down, positive outward.
    `phase` names what is being done per sample, `held` the object in the hand ('' for none).
    """

    t: Float[ndarray, "T"]
    Ts_world_hand: Float[ndarray, "T 4 4"]
    grip: Float[ndarray, "T"]
    swivel: Float[ndarray, "T"]
    phase: tuple[str, ...]
    held: tuple[str, ...]

    def __post_init__(self) -> None:
        t = _times(self.t, "hand plan")
        n = len(t)
        if not len(self.phase) == len(self.held) == n:
            raise InvalidInput(f"hand plan has {n} samples, {len(self.phase)} phases and {len(self.held)} entries of held")
        _set(
            self,
            t=t,
            Ts_world_hand=_frozen(self.Ts_world_hand, "hand poses", (n, 4, 4)),
            grip=_frozen(self.grip, "grip", (n,)),
            swivel=_frozen(self.swivel, "swivel", (n,)),
        )
