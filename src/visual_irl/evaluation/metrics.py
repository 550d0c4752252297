"""How good an extraction is against the truth of a synthetic recording, and how smooth a motion is."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from visual_irl.types import Demonstration

ARM_JOINTS = ("shoulder", "elbow", "wrist")
FINGERTIPS = tuple(f"hand_{f}_tip" for f in ("thumb", "index", "middle"))


def extraction_error(demo: Demonstration, truth: Demonstration) -> dict[str, Any]:
    """Errors [mm] of joints and resting objects, the share of frames in which the arm was lost, and attribute accuracy.

    Objects are matched by the nearest true object at the start. Frames are matched by time.
    """
    rows = np.abs(truth.t[:, None] - demo.t[None, :]).argmin(axis=0)
    arm = np.stack([_distance(demo, truth, rows, joint) for joint in ARM_JOINTS])
    tips = np.stack([_distance(demo, truth, rows, tip) for tip in FINGERTIPS])
    objects, attributes = _object_error(demo, truth, rows)
    return {
        "side_right": bool(demo.side == truth.side),
        "frames": len(demo.t),
        "arm_lost": float((~np.isfinite(arm).all(axis=0)).mean()),
        "arm_mm_mean": float(np.nanmean(arm) * 1e3),
        "arm_mm_p95": float(np.nanpercentile(arm, 95) * 1e3),
        "joints_mm": {joint: _mm(e) for joint, e in zip(ARM_JOINTS, arm, strict=True)},
        "fingertips_mm": _mm(tips.ravel()),
        "objects_true": len(truth.objects),
        "objects_found": len(demo.objects),
        "objects_mm": objects,
        "attributes_right": attributes,
    }


def _distance(demo: Demonstration, truth: Demonstration, rows: ndarray, name: str) -> ndarray:
    """How far a keypoint is from where it truly was, for each frame (T,) [m]; `rows` are the truth's frames."""
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


def spectral_arc_length(
    speed: Float[ndarray, "T"], rate: float, highest: float = 10.0, threshold: float = 0.05, padding: int = 4
) -> float:
    """Smoothness of a speed profile sampled at `rate` [1/s]: the arc length of its normalised spectrum, negative; nearer to 0
    is smoother. SPARC of Balasubramanian et al. 2015, "On the analysis of movement smoothness", with their constants:
    frequencies up to `highest` [Hz], cut after the last amplitude above `threshold` of that at rest.
    """
    length = 2 ** (int(np.ceil(np.log2(len(speed)))) + padding)
    frequency = np.arange(length // 2 + 1) * rate / length
    amplitude = np.abs(np.fft.rfft(speed, length))
    if not amplitude[0] > 0.0:
        return float("nan")
    amplitude = amplitude[frequency <= highest] / amplitude[0]
    frequency = frequency[frequency <= highest]
    last = int(np.nonzero(amplitude >= threshold)[0][-1])
    amplitude, frequency = amplitude[: last + 1], frequency[: last + 1]
    if last == 0:
        return 0.0
    span = frequency[-1] - frequency[0]
    return -float(np.hypot(np.diff(frequency) / span, np.diff(amplitude)).sum())
