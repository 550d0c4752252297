"""How far away the elbow and the wrist are: depth, limb lengths and the network's body shape weighed against each other.

The depth at a joint's pixel is often not the joint's: a forearm that points at the camera hides its own elbow, a hand
hides the other. What hides a joint is nearer than it, never farther, and a hidden joint still hangs on its limbs. So the
depths of elbow and wrist are found together, as the mode of their posterior on a grid: a mixture for each depth (the
joint's own skin, something in front of it, something behind), normal errors of both limb lengths, and of the shape.

Between the joints a limb shows its own skin more often than at them: a forearm that goes behind a bottle says how deep its
wrist is, and one that points at the camera that it does. Depths at a few pixels along each limb count as those at the joints
do, but for less, as they err together.

An elbow does not jump while its wrist stays where it is: where its own skin was seen a moment ago is evidence, too. It only
tells the depth of what hides the elbow from the elbow's, and moves no elbow that goes on from there.

A limb is a cylinder about its bones: a joint lies behind the skin by its radius over the sine of the angle between ray and
limb, of which each cell of the grid has its own; for the elbow, the limb that the ray meets first. (On rendered people, seen
from four sides, a fit of the distance gives one radius for its constant and for what grows with the angle.) Between the joints
the radius goes from one's to the other's.
"""

from __future__ import annotations

from collections import namedtuple
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple, no_type_check

import numpy as np
from jaxtyping import Float
from numba import njit
from numpy import ndarray

from visual_irl.bounds import require_within

ALONG = (0.4, 0.55, 0.7)
"""Where depth is read along a limb, as shares of the way from its upper joint to its lower one in the picture."""


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

    radius_shoulder: float = 0.053
    """From the upper arm's axis to its skin, at the shoulder [m]."""
    radius_elbow: float = 0.040
    """From the elbow's centre to its skin, across upper arm and forearm [m]."""
    radius_wrist: float = 0.020
    """The same for the wrist, across the forearm [m]."""
    steepest: float = 0.5
    """The sine of the angle between ray and limb counts as no less: there a cylinder's end is seen."""
    sigma_depth: float = 0.011
    """Of a joint's depth, measured on its own skin [m]."""
    sigma_along: float = 0.012
    """Of a depth between two joints, measured on the limb's own skin [m]: sleeves, and pixels beside its middle."""
    weight_along: float = 0.5
    """How much of its evidence each such depth counts: they err together."""
    missed_along: float = 0.05
    """How often such a pixel misses the limb, so that something behind is seen."""
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
            self, 0.0, 0.2, steepest=(0.05, 1.0), sigma_depth=deviation, sigma_along=deviation, weight_along=(0.0, 1.0),
            missed_along=chance, sigma_length=deviation, sigma_shape=deviation,
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
    forearm: float
    """Share of the pixels along the forearm that show its own skin."""


def arm_depth(
    shoulder: Float[ndarray, "3"],
    rays: Float[ndarray, "2 3"],
    z_skin: Float[ndarray, "2"],
    z_shape: Float[ndarray, "3"],
    lengths: LimbLengths,
    config: ArmDepthConfig,
    by_hand: tuple[float, float] | None = None,
    before: ArmBefore | None = None,
    z_along: Float[ndarray, "2 M"] | None = None,
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
        z_along: what is seen along the upper arm and the forearm, at `ALONG` [m]; NaN: unknown.
    """
    c: Any = _Weights(*vars(config).values())
    reach = 1.15 * np.array(lengths.length)
    elbow = shoulder[2] + np.arange(-reach[0], reach[0], config.step)
    ahead = np.arange(-reach[1], reach[1], config.step)
    length = np.array([lengths.length, np.hypot(config.sigma_length, lengths.sigma)])
    hand = np.array([by_hand[0], np.hypot(by_hand[1], config.sigma_hand)]) if by_hand is not None else np.full(2, np.nan)
    along = np.full((2, len(ALONG)), np.nan) if z_along is None else z_along
    last, free = np.full((2, 3), np.nan), np.nan
    if before is not None:
        last, free = np.array([before.elbow, before.wrist]), config.stays + config.drifts * before.age
    (z, sigma, own, z_own), forearm = _posterior(
        elbow, ahead, shoulder, rays, z_skin, along, z_shape[1:] - z_shape[:-1], length, hand, last, free, c
    )
    return ArmDepth(z, sigma, own, z_own, forearm)


_NEGLIGIBLE = 40.0
"""What is so much less probable (in logarithms) is left out: 1e-12 of it after all that may speak for it."""
_Weights = namedtuple("_Weights", [f.name for f in fields(ArmDepthConfig)])  # type: ignore[misc]  # compiled code reads it


@njit(cache=True, nogil=True)
@no_type_check
def _posterior(elbow, ahead, shoulder, rays, z_skin, z_along, from_shape, length, by_hand, last, free, c):
    """The first four fields of `ArmDepth`, and its last one; arguments as of `_costs`."""
    cost = _costs(elbow, ahead, shoulder, rays, z_skin, z_along, from_shape, length, by_hand, last, free, c)
    density = np.exp(cost.min() - cost)
    e, w = density.argmax() // len(ahead), density.argmax() % len(ahead)
    at_elbow, at_wrist = elbow[e], elbow[e] + ahead[w]
    of_elbow, of_wrist = np.zeros(len(elbow)), np.zeros(len(elbow) + len(ahead) - 1)
    out, total = np.zeros((4, 2)), 0.0
    for i in range(len(elbow)):
        for j in range(len(ahead)):
            of_elbow[i] += density[i, j]
            of_wrist[i + j] += density[i, j]  # the grid's two ways add up to the wrist's depth in equal steps
            if abs(i - e) < 5 and abs(i + j - e - w) < 5:
                total += density[i, j]
                out[0, 0] += density[i, j] * elbow[i]
                out[0, 1] += density[i, j] * (elbow[i] + ahead[j])
    out[0] /= total
    out[1] = _deviation(of_elbow, c.step), _deviation(of_wrist, c.step)
    own_elbow, own_wrist, skin_elbow, skin_wrist, other_elbow, other_wrist = _joint_skin(
        at_elbow, at_wrist, shoulder, rays, z_skin, c
    )
    out[2] = skin_elbow / (skin_elbow + other_elbow), skin_wrist / (skin_wrist + other_wrist)
    out[3] = own_elbow, own_wrist
    _, forearm = _along(at_elbow, at_wrist, rays[0], rays[1], z_along[1], c.radius_elbow, c.radius_wrist, c)
    return out, forearm


@njit(cache=True, nogil=True)
@no_type_check
def _deviation(density, step):
    """Of the normal distribution whose central 90 % are as wide as this one's, which is known at equal steps."""
    share = np.cumsum(density) / density.sum()
    low, high = np.searchsorted(share, 0.05), np.searchsorted(share, 0.95)
    return step * (min(high, len(share) - 1) - low) / (2.0 * 1.645)


@njit(cache=True, nogil=True)
@no_type_check
def _costs(elbow, ahead, shoulder, rays, z_skin, z_along, from_shape, length, by_hand, last, free, c):
    """Minus the posterior's logarithm at each depth of the elbow and each way from there to the wrist's.

    `length` has both limbs' lengths and their deviations, `last` the places of elbow and wrist a moment ago, `free` how far the
    elbow may have gone since then beside its wrist [m].
    """
    out = np.empty((len(elbow), len(ahead)))
    ray_wrist, hidden, least = rays[1], np.isnan(z_skin[1]), np.inf
    last_seen = (ray_wrist @ last[1]) / (ray_wrist @ ray_wrist)  # a hidden wrist goes across its ray alone
    for i in range(len(elbow)):
        z = elbow[i]
        upper = np.sqrt((z * rays[0, 0] - shoulder[0]) ** 2 + (z * rays[0, 1] - shoulder[1]) ** 2 + (z - shoulder[2]) ** 2)
        of_elbow = 0.5 * ((upper - length[0, 0]) / length[1, 0]) ** 2
        odds = _tail((z - shoulder[2] - from_shape[0]) / c.sigma_shape)
        seen, _ = _along(shoulder[2], z, shoulder / shoulder[2], rays[0], z_along[0], c.radius_shoulder, c.radius_elbow, c)
        of_elbow -= np.log(odds**2) + c.weight_along * np.log(seen)
        gone = np.sqrt(((z * rays[0] - last[0]) ** 2).sum())
        for j in range(len(ahead)):
            wrist = z + ahead[j]
            fore = np.sqrt(
                (wrist * rays[1, 0] - z * rays[0, 0]) ** 2 + (wrist * rays[1, 1] - z * rays[0, 1]) ** 2 + ahead[j] ** 2
            )
            out[i, j] = of_elbow + 0.5 * ((fore - length[0, 1]) / length[1, 1]) ** 2
            if out[i, j] > least + _NEGLIGIBLE:  # what is left takes off 12 at most
                continue
            odds = _tail((ahead[j] - from_shape[1]) / c.sigma_shape)
            if not np.isnan(by_hand[0]):
                odds *= _tail((wrist - by_hand[0]) / by_hand[1])
            if not np.isnan(free):
                seen_at = last_seen if hidden else wrist
                way = 0.0
                for a in range(3):
                    way += (seen_at * rays[1, a] - last[1, a]) ** 2
                odds *= _tail(max(gone - free - c.follows * np.sqrt(way), 0.0) / c.sigma_before)
            _, _, skin_elbow, skin_wrist, other_elbow, other_wrist = _joint_skin(z, wrist, shoulder, rays, z_skin, c)
            seen, _ = _along(z, wrist, rays[0], ray_wrist, z_along[1], c.radius_elbow, c.radius_wrist, c)
            out[i, j] -= np.log(odds**2 * (skin_elbow + other_elbow) * (skin_wrist + other_wrist)) + c.weight_along * np.log(
                seen
            )
            least = min(least, out[i, j])
    return out


@njit(cache=True, nogil=True)
@no_type_check
def _joint_skin(z_elbow, z_wrist, shoulder, rays, z_skin, c):
    """Where elbow and wrist are if it is their own skin that is seen [m], and the densities [1/m] of what is seen as that and
    as something else, when they are at these depths."""
    e0, e1, w0, w1 = rays[0, 0], rays[0, 1], rays[1, 0], rays[1, 1]
    fore = _towards(z_wrist * w0 - z_elbow * e0, z_wrist * w1 - z_elbow * e1, z_wrist - z_elbow, e0, e1)
    upper = _towards(z_elbow * e0 - shoulder[0], z_elbow * e1 - shoulder[1], z_elbow - shoulder[2], e0, e1)
    elbow = z_skin[0] + _depth_in(c.radius_elbow, max(fore, upper), e0, e1, c)
    fore = _towards(z_wrist * w0 - z_elbow * e0, z_wrist * w1 - z_elbow * e1, z_wrist - z_elbow, w0, w1)
    wrist = z_skin[1] + _depth_in(c.radius_wrist, fore, w0, w1, c)
    skin_elbow, other_elbow = _densities(z_elbow, elbow, c.sigma_depth, c.behind, c)
    skin_wrist, other_wrist = _densities(z_wrist, wrist, c.sigma_depth, c.behind, c)
    return elbow, wrist, skin_elbow, skin_wrist, other_elbow, other_wrist


@njit(cache=True, nogil=True)
@no_type_check
def _along(z0, z1, ray0, ray1, z_seen, radius0, radius1, c):
    """The likelihood of what is seen along a limb from one joint to the next, and how much of that is its own skin, in [0, 1];
    depths' inverses are linear in the picture."""
    likelihood, own = 1.0, 0.0
    if not (z0 > 0.0 and z1 > 0.0):
        return likelihood, own
    x, y, z = z1 * ray1[0] - z0 * ray0[0], z1 * ray1[1] - z0 * ray0[1], z1 - z0
    for k in range(len(z_seen)):
        if np.isnan(z_seen[k]):
            continue
        a = ALONG[k]
        u, v = (1.0 - a) * ray0[0] + a * ray1[0], (1.0 - a) * ray0[1] + a * ray1[1]
        radius = (1.0 - a) * radius0 + a * radius1
        measured = z_seen[k] + _depth_in(radius, _towards(x, y, z, u, v), u, v, c)
        skin, other = _densities(1.0 / ((1.0 - a) / z0 + a / z1), measured, c.sigma_along, c.missed_along, c)
        likelihood *= skin + other
        own += skin / (skin + other)
    return likelihood, own / len(z_seen)


@njit(cache=True, nogil=True)
@no_type_check
def _towards(x, y, z, u, v):
    """The square of a limb's direction along the ray (u, v, 1)."""
    return (x * u + y * v + z) ** 2 / max(x * x + y * y + z * z, 1e-6)


@njit(cache=True, nogil=True)
@no_type_check
def _depth_in(radius, towards, u, v, c):
    """From a limb's skin to its axis, in depth [m]."""
    square = u * u + v * v + 1.0
    return radius / np.sqrt(square - min(towards, (1.0 - c.steepest**2) * square))


@njit(cache=True, nogil=True)
@no_type_check
def _densities(z, measured, sigma, behind, c):
    """Densities [1/m] of a depth picture's value where the limb is at `z`: of its own skin, and of something else."""
    if np.isnan(measured):
        return 0.0, 1.0
    off, own = (z - measured) / sigma, 0.0
    if off * off < 2.0 * _NEGLIGIBLE:
        own = (1.0 - c.in_front - behind) / (np.sqrt(2.0 * np.pi) * sigma) * np.exp(-0.5 * off * off)
    return own, (c.in_front if off > 0.0 else behind) / c.span


@njit(cache=True, nogil=True)
@no_type_check
def _tail(x):
    """The square root of the density of Student's t with three degrees of freedom: 1 where it is largest."""
    return 1.0 / (1.0 + x * x / 3.0)
