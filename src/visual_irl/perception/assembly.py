"""From frames to a demonstration: the person's keypoints, the objects' stories, the hand's aperture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from visual_irl import se3
from visual_irl.errors import InvalidInput
from visual_irl.perception.objects.cylinder_fit import UP
from visual_irl.perception.objects.tracking import TrackingConfig, Tracks, track_objects
from visual_irl.types import Demonstration, KeypointFrame, keypoint_index, require_side

_FINGERTIPS = ("thumb_tip", "index_tip", "middle_tip")
_HAND_BEYOND_WRIST = 0.10
"""From the wrist to the grasp centre along the forearm [m], when the fingers are not seen."""


def assemble(
    frames: Sequence[KeypointFrame],
    side: str,
    fixtures: Mapping[str, Float[ndarray, "4 4"]],
    task: str,
    frame: str,
    provenance: Mapping[str, Any],
    tracking: TrackingConfig | None = None,
) -> Demonstration:
    """The demonstration that `frames` show.

    Args:
        frames: keypoints and detected objects in the order of time, in one frame of reference.
        side: the demonstrating arm.
        fixtures: poses of what does not move.
        task: name of the task.
        frame: 'world', or 'torso' for a plain video, which has no objects.
        provenance: how it was made.
        tracking: thresholds of object tracking.

    Raises:
        InvalidInput: fewer than two frames, stamps that do not increase, an unknown side, objects in a torso frame.
    """
    require_side(side)
    if len(frames) < 2:
        raise InvalidInput(f"a demonstration needs two or more frames, got {len(frames)}; record longer")
    if frame == "torso" and any(f.objects for f in frames):
        raise InvalidInput("objects are known only in a calibrated world; a demonstration in the torso frame has none")
    t = (np.array([f.stamp_ns for f in frames]) - frames[0].stamp_ns) * 1e-9
    p_world = np.array([f.p_world for f in frames])
    tracks = Tracks({}, {}, {}, ("",) * len(t))
    if any(f.objects for f in frames):
        places = np.array([np.asarray(T, float)[:3, 3] for T in fixtures.values()]).reshape(-1, 3)
        tracks = track_objects(t, [f.objects for f in frames], grasp_centre(p_world, side), places, tracking)
    feet, turns = standing_poses(tracks)
    thumb, index = (p_world[:, keypoint_index(f"{side}_hand_{tip}")] for tip in ("thumb_tip", "index_tip"))
    return Demonstration(
        t=t,
        side=side,
        p_world=p_world,
        covariance=np.array([f.covariance for f in frames]),
        seen=np.array([f.person for f in frames]),
        aperture=np.linalg.norm(thumb - index, axis=1),
        objects={**tracks.objects, **feet},
        radii=tracks.radii,
        attributes=tracks.attributes,
        held=tracks.held,
        fixtures=fixtures,
        frame=frame,
        task=task,
        provenance=provenance,
        turns=turns,
        heights=tracks.heights,
    )


def standing_poses(tracks: Tracks) -> tuple[dict[str, Float[ndarray, "T 3"]], dict[str, Float[ndarray, "T 3 3"]]]:
    """Where the feet of things that stand are [m], and how they are turned: by the least turn from upright.

    A turn about a thing's own axis cannot be seen of what is round.
    """
    feet = {name: tracks.objects[name] - 0.5 * tracks.heights[name] * axis for name, axis in tracks.axes.items()}
    turns = {name: np.array([se3.rotation_between(UP, a) for a in axis]) for name, axis in tracks.axes.items()}
    return feet, turns


def grasp_centre(p_world: Float[ndarray, "T K 3"], side: str) -> Float[ndarray, "T 3"]:
    """Between thumb, index and middle fingertip [m]; beyond the wrist where they are lost; NaN where the arm is."""
    centre = p_world[:, [keypoint_index(f"{side}_hand_{tip}") for tip in _FINGERTIPS]].mean(1)
    if np.isfinite(centre).all():
        return np.asarray(centre)
    wrist, elbow = (p_world[:, keypoint_index(f"{side}_{joint}")] for joint in ("wrist", "elbow"))
    along = wrist - elbow
    with np.errstate(invalid="ignore", divide="ignore"):
        beyond = wrist + _HAND_BEYOND_WRIST * along / np.linalg.norm(along, axis=1, keepdims=True)
    return np.where(np.isfinite(centre).all(1, keepdims=True), centre, beyond)
