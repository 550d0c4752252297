"""The keypoints of several cameras, whose pictures are taken at different times, at common moments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from visual_irl import se3
from visual_irl.errors import InvalidInput
from visual_irl.perception.skeleton.fusion import Fusion, FusionConfig
from visual_irl.types import SIDES, KeypointFrame, ObjectEstimate, RgbdFrame, keypoint_index

MAX_GAP_NS = 150_000_000
"""Between pictures of one camera that are further apart [ns] nothing is interpolated."""
MOST_UNSURE = 0.15
"""A shoulder known worse than this [m] leads no other camera to a person."""
_SAME_THING = 0.03
"""Sightings of two cameras nearer to each other than this [m] are of one object: half an onion's width."""


def fuse_cameras(
    cameras: Sequence[Sequence[KeypointFrame]], config: FusionConfig
) -> tuple[list[KeypointFrame], list[float], dict[str, int]]:
    """The person and the objects that several cameras of one world saw, at common times; a camera may have no frame at all.

    Returns:
        The fused keypoints, the share of moments at which each camera saw a person, and what was left out how often.

    Raises:
        InvalidInput: two cameras have no time in common: their clocks differ.
    """
    stamps = [np.array([frame.stamp_ns for frame in frames], np.int64) for frames in cameras]
    there = [(i, mine[0], mine[-1]) for i, mine in enumerate(stamps, 1) if len(mine)]
    for i, begin, end in there[1:]:
        if begin > there[0][2] or end < there[0][1]:
            raise InvalidInput(
                f"camera {there[0][0]} filmed from {there[0][1] / 1e9:.3f} to {there[0][2] / 1e9:.3f} s, camera {i} from "
                f"{begin / 1e9:.3f} to {end / 1e9:.3f} s: cameras that are fused need one clock (start_s in a camera.json "
                "moves one's)"
            )
    fusion, fused, seen = Fusion(config), [], np.zeros(len(cameras))
    times = common_times(stamps)
    for moment in times.tolist():
        frames = [at_moment(frames, mine, moment) for frames, mine in zip(cameras, stamps, strict=True)]
        seen += [frame is not None and frame.person for frame in frames]
        now = [frame for frame in frames if frame is not None]
        fused.append(replace(fusion.step(now), objects=merged_objects(now)))
    return fused, (seen / len(times)).tolist(), dict(fusion.left_out)


def expected_shoulders(frames: Sequence[KeypointFrame], frame: RgbdFrame) -> Float[ndarray, "2"] | None:
    """Where in a camera's picture [px] the middle between the shoulders is of the person whom another camera saw just then.

    None where that one saw nobody, or only knows a ray to them.
    """
    stamps = np.array([other.stamp_ns for other in frames], np.int64)
    seen = at_moment(frames, stamps, frame.stamp_ns) if len(frames) else None
    if seen is None or frame.T_world_camera is None:
        return None
    rows = [keypoint_index(f"{side}_shoulder") for side in SIDES]
    if not (seen.confidence[rows] > 0.0).all() or np.trace(seen.covariance[rows], axis1=1, axis2=2).max() > MOST_UNSURE**2:
        return None
    middle = se3.apply(se3.inverse(frame.T_world_camera), seen.p_world[rows].mean(0))
    pixel = frame.intrinsics.project(middle)
    return pixel if np.isfinite(pixel).all() else None


def common_times(stamps: Sequence[Int[ndarray, "_"]]) -> Int[ndarray, "M"]:
    """The stamps [ns] of the camera with the most pictures, and of the others where it has none within 0.75 of its period."""
    order = sorted(stamps, key=len, reverse=True)
    times = order[0]
    period = float(np.median(np.diff(times))) if len(times) > 1 else 0.0
    for other in order[1:]:
        if len(other):
            after = np.searchsorted(times, other)
            nearest = np.minimum(
                np.abs(other - times[np.maximum(after - 1, 0)]), np.abs(other - times[np.minimum(after, len(times) - 1)])
            )
            times = np.sort(np.concatenate([times, other[nearest > 0.75 * period]]))
    return times


def at_moment(frames: Sequence[KeypointFrame], stamps: Int[ndarray, "T"], moment: int) -> KeypointFrame | None:
    """One camera's keypoints at a time [ns]: linear between the pictures before and after; None outside of them or in a gap.

    A keypoint is known where both pictures know it. Objects are those of the nearer picture.
    """
    after = int(np.searchsorted(stamps, moment))
    if after < len(stamps) and stamps[after] == moment:
        return frames[after]
    if after == 0 or after == len(stamps) or stamps[after] - stamps[after - 1] > MAX_GAP_NS:
        return None
    a, b = frames[after - 1], frames[after]
    share = float(moment - a.stamp_ns) / float(b.stamp_ns - a.stamp_ns)
    both = np.minimum(a.confidence, b.confidence)
    p = (1.0 - share) * a.p_world + share * b.p_world
    covariance = (1.0 - share) * a.covariance + share * b.covariance
    lost = both == 0.0
    return KeypointFrame(
        moment,
        np.where(lost[:, None], np.nan, p),
        np.where(lost[:, None, None], np.nan, covariance),
        both,
        (1.0 - share) * a.uv + share * b.uv,
        (a if share < 0.5 else b).objects,
    )


def merged_objects(frames: Sequence[KeypointFrame]) -> tuple[ObjectEstimate, ...]:
    """What any camera sees; what several see is taken from the first of them."""
    found: list[ObjectEstimate] = []
    for frame in frames:
        before = len(found)
        for item in frame.objects:
            if all(np.linalg.norm(item.p_world - other.p_world) > _SAME_THING for other in found[:before]):
                found.append(item)
    return tuple(found)
