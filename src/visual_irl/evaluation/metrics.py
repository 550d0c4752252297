"""How good an extraction is, against the truth of a synthetic recording. Numbers for people: millimetres."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy import ndarray

from visual_irl.types import Demonstration

ARM_JOINTS = ("shoulder", "elbow", "wrist")
FINGERTIPS = tuple(f"hand_{f}_tip" for f in ("thumb", "index", "middle"))


def extraction_error(demo: Demonstration, truth: Demonstration) -> dict[str, Any]:
    """Errors [mm] of joints and resting objects, the share of frames in which the arm was lost, and attribute accuracy.

    Objects are matched by the nearest true object at the start. Frames are matched by time.
    """
    rows = np.abs(truth.t[:, None] - demo.t[None, :]).argmin(axis=0)
    joints = {}
    errors = []
    for joint in ARM_JOINTS:
        e = np.linalg.norm(demo.keypoint(joint) - truth.keypoint(f"{demo.side}_{joint}")[rows], axis=1)
        joints[joint] = _mm(e)
        errors.append(e)
    tips = np.stack([_distance(demo, truth, rows, tip) for tip in FINGERTIPS])
    arm = np.stack(errors)
    objects, attributes = _object_error(demo, truth, rows)
    return {
        "side_right": bool(demo.side == truth.side),
        "frames": len(demo.t),
        "arm_lost": float((~np.isfinite(arm).all(axis=0)).mean()),
        "arm_mm_mean": float(np.nanmean(arm) * 1e3),
        "arm_mm_p95": float(np.nanpercentile(arm, 95) * 1e3),
        "joints_mm": joints,
        "fingertips_mm": _mm(tips.ravel()),
        "objects_true": len(truth.objects),
        "objects_found": len(demo.objects),
        "objects_mm": objects,
        "attributes_right": attributes,
    }


def _distance(demo: Demonstration, truth: Demonstration, rows: ndarray, name: str) -> ndarray:
    return np.linalg.norm(demo.keypoint(name) - truth.keypoint(f"{demo.side}_{name}")[rows], axis=1)


def _mm(errors: ndarray) -> dict[str, float]:
    """Mean and 95th percentile [mm] of what is finite."""
    good = errors[np.isfinite(errors)] * 1e3
    if not len(good):
        return {"mean": float("nan"), "p95": float("nan")}
    return {"mean": float(good.mean()), "p95": float(np.percentile(good, 95))}


def _object_error(demo: Demonstration, truth: Demonstration, rows: ndarray) -> tuple[dict[str, float], float]:
    """Position error [mm] of each found object while it rests before it is taken, and the share of right attributes."""
    resting = np.array([name == "" for name in truth.held])[rows]
    first = int(np.argmin(resting)) if not resting.all() else len(resting)
    mm, right = {}, []
    for name, path in demo.objects.items():
        start = path[: max(first, 1)]
        p = np.median(start, axis=0)
        match = min(truth.objects, key=lambda other: float(np.linalg.norm(truth.objects[other][0] - p)))
        mm[name] = float(np.linalg.norm(p - truth.objects[match][0]) * 1e3)
        mine, true = demo.attributes[name], truth.attributes[match]
        right += [(mine.get(a, np.nan) > 0.5) == (v > 0.5) for a, v in true.items()]
    return mm, float(np.mean(right)) if right else float("nan")
