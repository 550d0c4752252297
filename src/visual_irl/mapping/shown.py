"""A recorded demonstration as a learner from situations sees it: hand, limbs and things, at even times."""

from __future__ import annotations

import numpy as np
import torch
from numpy import ndarray
from torch import Tensor

from visual_irl.errors import LearningFailed
from visual_irl.mapping.human_arm import observed_arm
from visual_irl.tasks.situation import Limbs, Situation
from visual_irl.types import Demonstration, HumanArmTrajectory


def shown_situations(demo: Demonstration, interval: float, attribute: str) -> Situation:
    """The situations (T) of a demonstration, one every `interval` [s]; the gripper is closed while something is held.

    The hand's place is the point of it that holds things, where a robot has its tool: how far that is from the grasp centre is
    told from what is held.

    Raises:
        LearningFailed: there is no object, or one without the attribute.
        NoPersonFound: the arm was not seen.
    """
    if not demo.objects:
        raise LearningFailed("the demonstration shows no object; check the pictures of `visual-irl extract --pictures`")
    for name in demo.objects:
        if attribute not in demo.attributes.get(name, {}):
            raise LearningFailed(f"object '{name}' has no attribute '{attribute}' that could decide where it belongs")
    arm = observed_arm(demo)
    t = np.arange(demo.t[0], demo.t[-1] + 1e-9, interval)
    nearest = np.abs(np.searchsorted(0.5 * (demo.t[1:] + demo.t[:-1]), t))

    def at(p: ndarray) -> ndarray:
        return np.stack([np.interp(t, demo.t, column) for column in p.T], axis=1)

    shoulder, elbow, wrist = at(arm.shoulder), at(arm.elbow), at(arm.wrist)
    hand = at(arm.Ts_world_hand[:, :3, 3] + arm.Ts_world_hand[:, :3, :3] @ _holding_point(demo, arm))
    held = np.array([[name == demo.held[k] for name in demo.objects] for k in nearest])
    kinds = np.array([int(demo.attributes[name][attribute] > 0.5) for name in demo.objects])
    limbs = Limbs(
        _directions(elbow - shoulder),
        _directions(wrist - elbow),
        _directions(at(arm.Ts_world_hand[:, :3, 2])),
        _tensor(np.minimum(np.minimum(elbow[:, 2], wrist[:, 2]), hand[:, 2])),
    )
    return Situation(
        _tensor(hand),
        _tensor(np.stack([at(path) for path in demo.objects.values()], axis=1)),
        torch.from_numpy(held),
        torch.from_numpy(np.tile(kinds, (len(t), 1))),
        _tensor(np.where(held.any(axis=1), 1.0, -1.0)),
        limbs=limbs,
    )


def _holding_point(demo: Demonstration, arm: HumanArmTrajectory) -> ndarray:
    """Where held things are in the hand's frame [m]."""
    held = [k for k, name in enumerate(demo.held) if name]
    if not held:
        raise LearningFailed("nothing is held in the demonstration: a task that moves nothing cannot be learned from it")
    things = np.array([demo.objects[demo.held[k]][k] for k in held])
    inside = np.einsum("tji,tj->ti", arm.Ts_world_hand[held, :3, :3], things - arm.Ts_world_hand[held, :3, 3])
    point: ndarray = np.nanmedian(inside, axis=0)
    return point


def _directions(v: ndarray) -> Tensor:
    return _tensor(v / np.maximum(np.linalg.norm(v, axis=1, keepdims=True), 1e-9))


def _tensor(x: ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(x)).float()
