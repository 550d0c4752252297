"""Figures of the perception benchmark: errors against the truth, what was missed or swapped, how honest deviations are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from visual_irl import covariance as cov
from visual_irl import se3
from visual_irl.types import KEYPOINTS, SIDES, Demonstration, Intrinsics, KeypointFrame, ObjectEstimate, keypoint_index

JOINTS = ("shoulder", "elbow", "wrist")
FINGERS = ("thumb", "index", "middle", "ring", "pinky")
ARM_ROWS = [keypoint_index(f"{side}_{joint}") for side in SIDES for joint in JOINTS]
TIP_ROWS = [keypoint_index(f"{side}_hand_{finger}_tip") for side in SIDES for finger in FINGERS]
SEEN_WITHIN = 0.008
"""A point of skin is seen when the depth picture has its depth within this [m]: twice its noise."""
LEAST_SEEN = 0.25
"""Share of a fingertip's skin that must be seen: half of it is turned to the camera when nothing is before it."""
FALSE_SIGHTING = 0.05
"""A sighting further than this from every object [m] is of something else: two onions' radii."""
NORMAL90 = 1.645
"""Half the width of a normal distribution's central 90 %, in standard deviations."""
ELLIPSOID90 = 2.500
"""Mahalanobis's distance within which a normal point in space lies with 90 % (chi-squared with three degrees of freedom)."""


@dataclass(frozen=True)
class Paths:
    """Keypoints of one method on one clip [m], with covariances where the method states any."""

    p: Float[ndarray, "T K 3"]
    covariance: Float[ndarray, "T K 3 3"] | None


@dataclass(frozen=True)
class Truth:
    """True keypoints [m], and which fingertips the camera can see."""

    p: Float[ndarray, "T K 3"]
    tips_visible: Bool[ndarray, "T N"]
    side: str


def visible_tips(
    skin: Float[ndarray, "N V 3"],
    T_world_camera: Float[ndarray, "4 4"],
    depth: Float[ndarray, "H W"],
    intrinsics: Intrinsics,
) -> Bool[ndarray, "N"]:
    """Which of `TIP_ROWS` the camera sees, by points of their skin [m], NaN where a tip has fewer than V."""
    N, V, _ = skin.shape
    known = np.isfinite(skin).all(2).ravel()
    p = se3.apply(se3.inverse(T_world_camera), skin.reshape(-1, 3)[known])
    uv = np.round(intrinsics.project(p))
    inside = (p[:, 2] > 0.0) & (uv >= 0).all(1) & (uv[:, 0] < depth.shape[1]) & (uv[:, 1] < depth.shape[0])
    column, row = uv[inside].astype(int).T
    seen = np.zeros(N * V, bool)
    seen[np.flatnonzero(known)[inside]] = np.abs(depth[row, column] - p[inside, 2]) < SEEN_WITHIN  # unknown is not seen
    return np.asarray(seen.reshape(N, V).sum(1) >= LEAST_SEEN * known.reshape(N, V).sum(1))


def figures(paths: Sequence[Paths], truths: Sequence[Truth]) -> dict[str, Any]:
    """All figures of one method over all clips; None where it gives no such thing."""
    p, true = np.concatenate([x.p for x in paths]), np.concatenate([x.p for x in truths])
    visible = np.concatenate([x.tips_visible for x in truths])
    error = np.linalg.norm(p - true, axis=2)
    arm, tips = error[:, ARM_ROWS], np.where(visible, error[:, TIP_ROWS], np.nan)
    working = np.concatenate([np.tile(_of_side(x.side), (len(x.p), 1)) for x in truths])
    per_joint = {name: _mm(error[:, [keypoint_index(f"{side}_{name}") for side in SIDES]]) for name in JOINTS}
    return {
        "arm_mm_mean": _mm(arm)["mean"],
        "arm_mm_p95": _mm(arm)["p95"],
        "joints_mm": per_joint,
        "fingertip_mm_mean": _mm(tips)["mean"],
        "fingertip_mm_p95": _mm(tips)["p95"],
        "working_fingertip_mm_mean": _mm(np.where(working, tips, np.nan))["mean"],
        "fingertips_mm": {f: _mm(tips[:, [FINGERS.index(f), len(FINGERS) + FINGERS.index(f)]]) for f in FINGERS},
        "missed": float((~np.isfinite(arm)).mean()),
        "fingertips_missed": float((~np.isfinite(tips[visible])).mean()) if visible.any() else None,
        "swapped": swapped_share(p, true),
        **_coverage(paths, truths),
    }


def swapped_share(p: Float[ndarray, "T K 3"], true: Float[ndarray, "T K 3"]) -> float:
    """Share of frames in which the found arms are nearer to the other side's true ones than to their own."""
    left, right = ARM_ROWS[: len(JOINTS)], ARM_ROWS[len(JOINTS) :]
    rows, other = left + right, right + left
    own = np.linalg.norm(p[:, rows] - true[:, rows], axis=2)
    crossed = np.linalg.norm(p[:, rows] - true[:, other], axis=2)
    found = np.isfinite(own)
    return float((np.where(found, crossed - own, 0.0).sum(1) < 0.0).mean())


def _of_side(side: str) -> ndarray:
    return np.array([KEYPOINTS[row].startswith(side) for row in TIP_ROWS])


def _coverage(paths: Sequence[Paths], truths: Sequence[Truth]) -> dict[str, Any]:
    """Share of errors inside the stated 90 % ellipsoids: of arms and visible fingertips, and apart; and of those axis by axis
    inside the 90 % intervals, which do not tell whether the ellipsoids lie along the right directions."""
    names = (
        "interval90_coverage",
        "interval90_arm",
        "interval90_fingertip",
        "interval90_joints",
        "interval90_axes",
        "ellipsoid_mm_mean",
    )
    if any(x.covariance is None for x in paths):
        return dict.fromkeys(names)
    inside, by_axis, radius, known = [], [], [], []
    for x, truth in zip(paths, truths, strict=True):
        assert x.covariance is not None
        inside.append(cov.distance(x.p - truth.p, x.covariance) <= ELLIPSOID90)
        by_axis.append(np.abs(x.p - truth.p) <= NORMAL90 * cov.deviations(x.covariance))
        radius.append(1e3 * np.sqrt(np.trace(x.covariance, axis1=2, axis2=3) / 3.0))
        known.append(np.isfinite(x.p).all(2))
        known[-1][:, TIP_ROWS] &= truth.tips_visible
    i, k, rows = np.concatenate(inside), np.concatenate(known), ARM_ROWS + TIP_ROWS
    axes, size = np.concatenate(by_axis)[:, rows][k[:, rows]], np.concatenate(radius)[:, ARM_ROWS][k[:, ARM_ROWS]]

    def share(rows: list[int]) -> float | None:
        return float(i[:, rows][k[:, rows]].mean()) if k[:, rows].any() else None

    joints = {joint: share([keypoint_index(f"{side}_{joint}") for side in SIDES]) for joint in JOINTS}
    sharpness = float(size.mean()) if len(size) else None
    by_axis_share = float(axes.mean()) if len(axes) else None
    return dict(zip(names, (share(rows), share(ARM_ROWS), share(TIP_ROWS), joints, by_axis_share, sharpness), strict=True))


def _mm(errors: ndarray) -> dict[str, float | None]:
    """Mean and 95th percentile [mm] of what is finite."""
    good = errors[np.isfinite(errors)] * 1e3
    if not len(good):
        return {"mean": None, "p95": None}
    return {"mean": float(good.mean()), "p95": float(np.percentile(good, 95))}


def object_figures(
    found: Sequence[Sequence[Sequence[ObjectEstimate]]], tracked: Sequence[Demonstration], truths: Sequence[Demonstration]
) -> dict[str, Any]:
    """Errors of all sightings, false ones too, and of tracked paths [mm]; how many attributes are right.

    An object whose attribute is unknown after all sightings is not right; single sightings count where they tell it.

    Args:
        found: sightings by clip and frame; each is measured against the nearest true object.
        tracked: what was made of them.
        truths: what was there.
    """
    sighted, right, told, leaning, false = [], [], [], [], 0
    by_label: dict[str, list[float]] = {}
    for frames, truth in zip(found, truths, strict=True):
        centres = _centres(truth)
        for i, sightings in enumerate(frames):
            for s in sightings:
                name, gap = _nearest(s.p_world, centres, i)
                sighted.append(1e3 * gap)
                by_label.setdefault(s.label, []).append(1e3 * gap)
                false += gap > FALSE_SIGHTING
                if s.axis is not None and name in truth.turns:
                    leaning.append(float(np.degrees(se3.angle_between(s.axis, truth.turns[name][i][:, 2]))))
                for a, v in truth.attributes[name].items():
                    told.append(a in s.attributes)
                    right += [(s.attributes[a] > 0.5) == (v > 0.5)] if told[-1] else []
    mm, by_track, matched = [], [], 0
    for demo, truth in zip(tracked, truths, strict=True):
        for name, path in demo.objects.items():
            gaps = {o: 1e3 * np.linalg.norm(path - true, axis=1) for o, true in truth.objects.items()}
            nearest = min(gaps, key=lambda o: float(gaps[o].mean()))
            mm += gaps[nearest].tolist()
            said = demo.attributes[name]
            by_track += [a in said and (said[a] > 0.5) == (v > 0.5) for a, v in truth.attributes[nearest].items()]
        matched += min(len(demo.objects), len(truth.objects))
    there = sum(len(truth.objects) for truth in truths)
    return {
        "object_mm_mean": float(np.mean(sighted)) if sighted else None,
        "object_mm_p95": float(np.percentile(sighted, 95)) if sighted else None,
        "objects_mm": {label: float(np.mean(values)) for label, values in by_label.items()},
        "axis_deg_mean": float(np.mean(leaning)) if leaning else None,
        "attribute_accuracy": float(np.mean(by_track)) if by_track else None,
        "tracked_object_mm_mean": float(np.mean(mm)) if mm else None,
        "tracked_object_mm_median": float(np.median(mm)) if mm else None,
        "sighting_attribute_accuracy": float(np.mean(right)) if right else None,
        "sighting_attribute_told": float(np.mean(told)) if told else None,
        "object_sightings": len(sighted),
        "false_sightings": int(false),
        "objects_tracked": sum(len(demo.objects) for demo in tracked),
        "objects_true": there,
        "objects_missed": 1.0 - matched / there if there else None,
    }


def holding_figures(live: Sequence[Sequence[KeypointFrame]], truths: Sequence[Demonstration]) -> dict[str, float | None]:
    """How well it is told live what a hand holds, as shares of frames.

    Of those in which the demonstrating hand holds something, how many are told; of its others, how many are told so all the
    same; and in how many of all the other hand is told to hold something.

    Args:
        live: frames with their hands, by clip.
        truths: what was held.
    """
    held, said, aside = [], [], []
    for frames, truth in zip(live, truths, strict=True):
        other = next(side for side in SIDES if side != truth.side)
        held += [name != "" for name in truth.held]
        said += [f.hands[truth.side].grasp == "holding" for f in frames]
        aside += [f.hands[other].grasp == "holding" for f in frames]
    holds, told = np.array(held), np.array(said)
    return {
        "holding_told": float(told[holds].mean()) if holds.any() else None,
        "holding_claimed": float(told[~holds].mean()) if not holds.all() else None,
        "holding_other_hand": float(np.mean(aside)),
    }


def _centres(truth: Demonstration) -> dict[str, ndarray]:
    """Paths of the objects' centres [m]; those of things that stand are their feet's."""
    up = {name: 0.5 * truth.heights[name] * truth.turns[name][:, :, 2] for name in truth.heights}
    return {name: path + up.get(name, 0.0) for name, path in truth.objects.items()}


def _nearest(p: ndarray, centres: Mapping[str, ndarray], i: int) -> tuple[str, float]:
    gaps = {name: float(np.linalg.norm(path[i] - p)) for name, path in centres.items()}
    name = min(gaps, key=gaps.__getitem__)
    return name, gaps[name]
