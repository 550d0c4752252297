"""A skill pours in MuJoCo, closed loop; success is where the grains are and how the bottle stands."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from visual_irl import se3
from visual_irl.evaluation.episodes.pouring_episodes import PouringEpisodes, pour
from visual_irl.execution.mujoco_executor import MujocoExecutor
from visual_irl.execution.world import grain_names
from visual_irl.perception.cameras.synthetic_camera import SyntheticCamera
from visual_irl.pipeline import LearnConfig, learn
from visual_irl.robots import load_robot
from visual_irl.skills.pouring import PouringSkill
from visual_irl.tasks.pouring import BOTTLE, CUP, Pouring

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def skill() -> PouringSkill:
    learned = learn([SyntheticCamera(task="pouring", seed=0, rate=10.0).truth], LearnConfig())
    assert isinstance(learned, PouringSkill)
    return learned


def test_a_missed_grasp_is_seen_and_tried_again_and_all_is_poured_and_disposed(skill: PouringSkill) -> None:
    task = Pouring(grains=12)
    scene = task.sample_scene(np.random.default_rng([102, 0]))
    moved = []

    def push_away(executor: MujocoExecutor) -> None:
        if not moved:  # as the hand sets out, after the bottle was looked at
            for name in (BOTTLE, *grain_names(scene)):
                address = executor.model.jnt_qposadr[int(executor.model.body(name).jntadr[0])]
                executor.data.qpos[address] += 0.07
            moved.append(executor.outcome())

    result = pour(skill, load_robot("ur5e"), task, scene, seed=102, on_frame=push_away)
    assert moved and result.lost == 1
    assert result.share >= 0.95 and result.disposed
    assert not result.refused and not result.collisions and result.branch_changes == 0
    scores = PouringEpisodes(Pouring()).scores([result])
    assert scores["success_rate"] == result.share and scores["disposed_upright"] == 1.0


def test_nothing_moves_where_the_cup_is_not_seen(skill: PouringSkill) -> None:
    task, aside = Pouring(grains=1), np.array([0.3, 0.6, -0.7])  # on the floor
    scene = task.sample_scene(np.random.default_rng([102, 0]))
    cup = replace(scene.vessel(CUP), T_world=se3.transform(np.eye(3), aside))
    result = pour(skill, load_robot("ur5e"), task, replace(scene, vessels=(scene.vessel(BOTTLE), cup)), seed=102)
    assert len(result.refused) == 1 and "no 'cup' is seen, but bottle" in result.refused[0]
    assert not result.ours and result.share == 0.0 and not result.disposed


def test_the_camera_sees_the_bottle_tip_over_the_cup() -> None:
    camera = SyntheticCamera(task="pouring", seed=0, noise=False, width=320, height=240, rate=5.0)
    tilt = np.arccos(np.clip(camera.truth.turns[BOTTLE][:, 2, 2], -1.0, 1.0))
    green = []
    for frame in camera.film([0, int(np.argmax(tilt))]):
        rgb = frame.rgb.astype(int)
        rows, columns = np.nonzero((rgb[..., 1] > rgb[..., 0] + 40) & (rgb[..., 1] > rgb[..., 2] + 15))
        green.append((np.ptp(rows), np.ptp(columns), rows.min()))
        cup = camera.truth.objects[CUP][0] + [0.0, 0.0, 0.04]
        p_camera = np.linalg.inv(camera.T_world_camera) @ [*cup, 1.0]
        u, v = camera.intrinsics.project(p_camera[:3])
        assert abs(frame.depth[int(v), int(u)] - p_camera[2]) < 0.06  # the cup's wall is 5 cm before its middle
    (height, width, _), (_, tipped_width, _) = green
    assert height > 1.5 * width and tipped_width > 1.4 * width
