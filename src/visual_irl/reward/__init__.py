"""Reward models and the learners that recover them from demonstrations, one file each."""

from __future__ import annotations

from visual_irl.errors import pip_install
from visual_irl.registry import Registry

LEARNERS = Registry("learners", {"max_ent": ("visual_irl.reward.max_ent:MaxEnt", pip_install())})
"""Learners on the graph of a task, for `visual-irl learn`: name -> config; `build().learn(...)` gives a `LinearReward`."""
SITUATION_LEARNERS = Registry(
    "situation_learners",
    {
        "progress": ("visual_irl.reward.progress:Progress", pip_install()),
        "airl": ("visual_irl.reward.airl:Airl", pip_install()),
        "mpail": ("visual_irl.reward.mpail:Mpail", pip_install()),
    },
)
"""Learners from situations in a batched task, for `visual-irl bench irl`: name -> config; see `reward.learner`."""
