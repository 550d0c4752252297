"""An elbow beside its pixel: its limbs know better where it is.

Of an arm's joints the elbow is drawn worst, by 20 mm along the upper arm: nothing there looks like a joint. Shoulder and wrist
are drawn better and limbs keep their lengths, so that the elbow lies on two spheres. It takes one step of Gauss and Newton from
where pixel and depths put it, all weighed by how well they are known.
"""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from jaxtyping import Float
from numba import njit
from numpy import ndarray

from visual_irl.perception.skeleton.arm_depth import LimbLengths


def elbow_on_limbs(
    arm: Float[ndarray, "3 3"], lengths: LimbLengths, sigma: Float[ndarray, "3"], sigma_limb: float
) -> Float[ndarray, "3"]:
    """The most likely place of the elbow [m].

    Args:
        arm: shoulder, elbow and wrist [m], the camera at the origin.
        lengths: the person's limbs.
        sigma: standard deviations [m] of the elbow along its ray and across it, and of the wrist where it is not seen (else 0).
        sigma_limb: how much limbs seem to change their length [m], on top of how well the person's is known.
    """
    return np.asarray(_moved(arm, lengths.length, lengths.sigma, sigma, sigma_limb))


@njit(cache=True, nogil=True)
@no_type_check
def _moved(arm, lengths, sigma_lengths, sigma, sigma_limb):
    elbow = arm[1]
    ray = elbow / np.sqrt((elbow**2).sum())
    along, across = sigma[0] ** -2, sigma[1] ** -2
    information, pull = across * np.eye(3) + (along - across) * np.outer(ray, ray), np.zeros(3)
    for k, unseen in ((0, 0.0), (1, sigma[2])):
        limb = elbow - arm[2 * k]
        length = max(np.sqrt((limb**2).sum()), 1e-6)
        weight = 1.0 / (sigma_limb**2 + sigma_lengths[k] ** 2 + unseen**2)
        information += weight * np.outer(limb, limb) / length**2
        pull += weight * (lengths[k] - length) * limb / length
    return elbow + np.linalg.solve(information, pull)
