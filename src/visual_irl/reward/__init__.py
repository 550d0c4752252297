"""Reward models and the learners that recover them from demonstrations, one file each."""

from __future__ import annotations

from visual_irl.registry import Registry

LEARNERS = Registry("learners", {"max_ent": ("visual_irl.reward.max_ent:MaxEnt", "visual-irl itself")})
"""Name -> learner config; `build().learn(...)` gives a `RewardModel`."""
