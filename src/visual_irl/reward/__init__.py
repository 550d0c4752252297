"""Reward models and the learners that recover them from demonstrations, one file each."""

from __future__ import annotations

from visual_irl.registry import Registry

OURS = "visual-irl itself"
LEARNERS = Registry("learners", {"max_ent": ("visual_irl.reward.max_ent:MaxEnt", OURS)})
"""Learners on the graph of a task, for `visual-irl learn`: name -> config; `build().learn(...)` gives a `RewardModel`."""
SITUATION_LEARNERS = Registry(
    "situation_learners",
    {
        "progress": ("visual_irl.reward.progress:Progress", OURS),
        "airl": ("visual_irl.reward.airl:Airl", OURS),
        "mpail": ("visual_irl.reward.mpail:Mpail", OURS),
    },
)
"""Learners from situations in a batched task, for `visual-irl bench irl`: name -> config; see `reward.learner`."""
