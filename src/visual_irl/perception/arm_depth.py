"""How far away the elbow and the wrist are: depth, limb lengths and the network's body shape weighed against each other.

The depth at a joint's pixel is often not the joint's: a forearm that points at the camera hides its own elbow, a hand
hides the other. What hides a joint is nearer than it, never farther, and a hidden joint still hangs on its limbs. So the
depths of elbow and wrist are found together, as the mode of their posterior on a grid: a mixture for each depth (the
joint's own skin, something in front of it, something behind), normal errors of both limb lengths, and of the shape.

An elbow does not jump while its wrist stays where it is: where its own skin was seen a moment ago is evidence, too. It only
tells the depth of what hides the elbow from the elbow's, and moves no elbow that goes on from there.

A limb is a cylinder about its bones: a joint lies behind the skin by its radius over the sine of the angle between ray and
limb, of which each cell of the grid has its own; for the elbow, the limb that the ray meets first. (On rendered people, seen
from four sides, a fit of the distance gives one radius for its constant and for what grows with the angle.)
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from visual_irl.bounds import require_within


@dataclass(frozen=True)
class LimbLengths:
    """Upper arm and forearm of one person [m] with standard deviations; both arms alike. Starts as any adult's.

    Means of women and men from de Leva 1996 (J. Biomech. 29), spread of adults' statures and proportions.
    """

    length: tuple[float, float] = (0.275, 0.260)
    sigma: tuple[float, float] = (0.022, 0.020)

    def updated(self, measured: tuple[float, float], noise: float = 0.020, floor: float = 0.004) -> LimbLengths:
        """After one frame's measured lengths [m] (NaN: none), as a Kalman filter does; 2.5 sigma off, they are refused.

        Args:
            measured: distances of joints that have depth of their own.
            noise: standard deviation of one of them [m]; the same in both arms and slow, hence the floor.
            floor: the deviation never falls below [m].
        """
        length, sigma = list(self.length), list(self.sigma)
        for k, value in enumerate(measured):
            spread = noise**2 + sigma[k] ** 2
            if abs(value - length[k]) <= 2.5 * spread**0.5:  # NaN is refused
                gain = 0.1 * sigma[k] ** 2 / (0.1 * sigma[k] ** 2 + noise**2)  # ten frames tell as much as one
                length[k] += gain * (value - length[k])
                sigma[k] = max(floor, (1.0 - gain) ** 0.5 * sigma[k])
        return replace(self, length=(length[0], length[1]), sigma=(sigma[0], sigma[1]))


@dataclass(frozen=True)
class ArmDepthConfig:
    """How much each piece of evidence counts."""

    radius_elbow: float = 0.040
    """From the elbow's centre to its skin, across upper arm and forearm [m]."""
    radius_wrist: float = 0.020
    """The same for the wrist, across the forearm [m]."""
    steepest: float = 0.5
    """The sine of the angle between ray and limb counts as no less: there a cylinder's end is seen."""
    sigma_depth: float = 0.011
    """Of a joint's depth, measured on its own skin [m]."""
    sigma_length: float = 0.018
    """Of a limb's length between two landmarks [m], on top of how well the person's is known."""
    sigma_shape: float = 0.10
    """Of the network's depth from joint to joint [m]; with long tails: it errs by 0.2 m on limbs that point at the camera."""
    sigma_hand: float = 0.03
    """Of the wrist's depth by its hand's skin and shape [m], on top of what that says; with long tails, too."""
    in_front: float = 0.15
    """How often something hides the joint."""
    behind: float = 0.005
    """How often the pixel misses the limb."""
    span: float = 0.6
    """Depth over which such other things are spread [m]."""
    step: float = 0.015
    """Of the grid [m]."""
    stays: float = 0.05
    """An elbow may be so far [m] from where it was seen last ..."""
    drifts: float = 0.2
    """... and further by this much a second [m/s] ..."""
    follows: float = 1.0
    """... and by this share of its wrist's way; ..."""
    sigma_before: float = 0.02
    """... what is beyond counts in units of this [m], with long tails."""

    def __post_init__(self) -> None:
        deviation, chance = (1e-3, 1.0), (1e-6, 0.49)
        require_within(
            self, 0.0, 0.2, steepest=(0.05, 1.0), sigma_depth=deviation, sigma_length=deviation, sigma_shape=deviation,
            sigma_hand=deviation, in_front=chance, behind=chance, span=(0.01, 10.0), step=(0.005, 0.05),
            stays=(0.0, 1.0), drifts=(0.0, 10.0), follows=(0.0, 10.0), sigma_before=deviation,
        )  # fmt: skip


class ArmBefore(NamedTuple):
    """An arm when its elbow's own skin was seen last."""

    elbow: Float[ndarray, "3"]
    wrist: Float[ndarray, "3"]
    """Their places then [m], in the coordinates of now."""
    age: float
    """How long ago [s]."""


@dataclass(frozen=True)
class ArmDepth:
    """Depths of elbow and wrist along z [m], their standard deviations, and the chance that each one's own skin was seen."""

    z: Float[ndarray, "2"]
    sigma: Float[ndarray, "2"]
    own: Float[ndarray, "2"]
    z_own: Float[ndarray, "2"]
    """Where they are if it was [m]; NaN where nothing was measured."""


def arm_depth(
    shoulder: Float[ndarray, "3"],
    rays: Float[ndarray, "2 3"],
    z_skin: Float[ndarray, "2"],
    z_shape: Float[ndarray, "3"],
    lengths: LimbLengths,
    config: ArmDepthConfig,
    by_hand: tuple[float, float] | None = None,
    before: ArmBefore | None = None,
) -> ArmDepth:
    """The most likely depths of elbow and wrist.

    Args:
        shoulder: the shoulder's centre [m].
        rays: viewing rays of elbow and wrist with z = 1.
        z_skin: what is seen at the pixels of elbow and wrist [m]; NaN: unknown.
        z_shape: depths of all three in the body's shape [m], up to an offset.
        lengths: the person's limbs.
        config: weights.
        by_hand: the wrist's depth by the skin of its hand, and that one's standard deviation [m], where it is known.
        before: the arm a moment ago, where it is known.
    """
    reach = 1.15 * np.array(lengths.length)
    elbow = shoulder[2] + np.arange(-reach[0], reach[0], config.step)
    ahead = np.arange(-reach[1], reach[1], config.step)
    wrist = elbow[:, None] + ahead
    p_elbow = elbow[:, None] * rays[0]
    above = p_elbow - shoulder
    upper = np.linalg.norm(above, axis=1)
    along = [wrist * rays[1, i] - p_elbow[:, i, None] for i in range(3)]
    fore = np.sqrt(sum(a * a for a in along))
    norm = np.linalg.norm(rays, axis=1)
    steep = [(sum(a * r for a, r in zip(along, ray, strict=True)) / np.maximum(fore, 1e-3)) ** 2 for ray in rays]
    steep[0] = np.maximum(steep[0], (above @ rays[0] / np.maximum(upper, 1e-3))[:, None] ** 2)
    radii, most = (config.radius_elbow, config.radius_wrist), 1.0 - config.steepest**2  # the cosine's square
    z_own = [z_skin[k] + radii[k] / np.sqrt(norm[k] ** 2 - np.minimum(steep[k], most * norm[k] ** 2)) for k in range(2)]
    sigma = np.hypot(config.sigma_length, lengths.sigma)
    from_shape = np.diff(z_shape)
    cost = _square((upper - lengths.length[0]) / sigma[0])
    cost = cost + _tailed((elbow - shoulder[2] - from_shape[0]) / config.sigma_shape)
    seen = [_depth_likelihood(z, measured, config) for z, measured in ((elbow[:, None], z_own[0]), (wrist, z_own[1]))]
    joint = cost[:, None] - np.log((seen[0][0] + seen[0][1]) * (seen[1][0] + seen[1][1]))
    joint = joint + _square((fore - lengths.length[1]) / sigma[1])
    joint = joint + _tailed((ahead - from_shape[1]) / config.sigma_shape)
    if by_hand is not None:
        joint = joint + _tailed((wrist - by_hand[0]) / np.hypot(by_hand[1], config.sigma_hand))
    if before is not None:
        seen_at = wrist if np.isfinite(z_skin[1]) else np.full((1, 1), rays[1] @ before.wrist / norm[1] ** 2)
        way = [seen_at * rays[1, i] - before.wrist[i] for i in range(3)]  # across the ray alone where it is hidden
        joint = joint + _jump(p_elbow - before.elbow, way, before.age, config)
    density = np.exp(joint.min() - joint)
    e, w = np.unravel_index(int(density.argmax()), density.shape)
    near = density * (np.abs(elbow - elbow[e])[:, None] < 5 * config.step) * (np.abs(wrist - wrist[e, w]) < 5 * config.step)
    z = np.array([(near.sum(1) @ elbow), (near * wrist).sum()]) / near.sum()
    order = np.argsort(wrist, axis=None)
    sigma_z = np.array([_deviation(elbow, density.sum(1)), _deviation(wrist.ravel()[order], density.ravel()[order])])
    own = np.array([skin[e, w] / (skin[e, w] + other[e, w]) for skin, other in seen])
    return ArmDepth(z, sigma_z, own, np.array([each[e, w] for each in z_own]))


def _deviation(z: ndarray, density: ndarray) -> float:
    """Of the normal distribution whose central 90 % are as wide as this one's; `z` rises."""
    share = np.cumsum(density) / density.sum()
    low, high = np.searchsorted(share, (0.05, 0.95))
    return float(z[min(high, len(z) - 1)] - z[low]) / (2.0 * 1.645)


def _jump(
    elbow: Float[ndarray, "E 3"], wrist: list[Float[ndarray, "E2 W2"]], age: float, config: ArmDepthConfig
) -> Float[ndarray, "E W"]:
    """Cost of an elbow's way [m] in `age` seconds beside its wrist's, each of whose coordinates is one of `wrist` [m]."""
    free = config.stays + config.drifts * age + config.follows * np.sqrt(sum(a * a for a in wrist))
    beyond = np.linalg.norm(elbow, axis=1)[:, None] - free
    return _tailed(np.maximum(beyond, 0.0) / config.sigma_before)


def _square(x: ndarray) -> ndarray:
    return np.asarray(0.5 * x * x)


def _tailed(x: ndarray) -> ndarray:
    """Student's t with three degrees of freedom: minus the logarithm of its density."""
    return np.asarray(2.0 * np.log1p(x * x / 3.0))


def _depth_likelihood(z: ndarray, measured: ndarray, config: ArmDepthConfig) -> tuple[ndarray, ndarray]:
    """Densities [1/m] of a depth picture's value where the joint is at `z`: of its own skin, and of something else."""
    if not np.isfinite(measured[0, 0]):
        return np.zeros_like(measured), np.ones_like(measured)
    chance = 1.0 - config.in_front - config.behind
    own = chance / (np.sqrt(2.0 * np.pi) * config.sigma_depth) * np.exp(-_square((z - measured) / config.sigma_depth))
    return own, np.where(z > measured, config.in_front, config.behind) / config.span
