"""What the cell's camera knows of bottle and cup: where they stand, how large they are, and when it does not know."""

from dataclasses import replace

import numpy as np
import pytest

from visual_irl import se3
from visual_irl.errors import NotSeen
from visual_irl.evaluation.episodes.vessel_sight import VesselSight
from visual_irl.execution.mujoco_executor import MujocoExecutor
from visual_irl.execution.world import CAMERAS, PREFIX
from visual_irl.mujoco_engine import mujoco
from visual_irl.perception.objects.vessels import VesselDetector
from visual_irl.robots import load_robot
from visual_irl.tasks.pouring import BOTTLE, CUP, Pouring


def cell_of(scene) -> MujocoExecutor:
    return MujocoExecutor(replace(scene, grains=None), load_robot("ur5e"), seed=103)


@pytest.fixture
def cell():
    executor = cell_of(Pouring().sample_scene(np.random.default_rng([103, 0])))
    yield executor
    executor.close()


def put(cell: MujocoExecutor, name: str, T_world: np.ndarray) -> None:
    address = cell.model.jnt_qposadr[int(cell.model.body(name).jntadr[0])]
    cell.data.qpos[address : address + 7] = [*T_world[:3, 3], *se3.quaternion_wxyz(T_world[:3, :3])]
    mujoco.mj_kinematics(cell.model, cell.data)


def test_vessels_are_seen_as_large_as_they_are_where_they_stand(cell: MujocoExecutor) -> None:
    sight, truth = VesselSight(cell, (BOTTLE, CUP), np.random.default_rng(0)), cell.outcome().Ts_world
    sight.look()
    for name in (BOTTLE, CUP):
        seen, vessel = sight.standing(name), cell.scene.vessel(name)
        assert np.linalg.norm(seen.p_world - truth[name][:3, 3]) < 0.006  # 2 mm; more where a flat side faces the camera
        assert abs(seen.height - vessel.height) < 0.004 and abs(seen.radius - vessel.outer_radius) < 0.005
    put(cell, BOTTLE, se3.transform(truth[BOTTLE][:3, :3], truth[BOTTLE][:3, 3] + [0.06, 0.05, 0.0]))
    sight.look()
    assert np.linalg.norm(sight.standing(BOTTLE).p_world - cell.outcome().Ts_world[BOTTLE][:3, 3]) < 0.006


def test_what_is_hidden_is_thought_to_be_there_and_what_is_gone_is_not(cell: MujocoExecutor) -> None:
    sight = VesselSight(cell, (BOTTLE, CUP), np.random.default_rng(0))
    sight.look()
    before = sight.standing(CUP).p_world
    base = int(cell.model.body_rootid[int(cell.model.joint(PREFIX + cell.robot.joint_names[0]).bodyid[0])])
    home = cell.model.body_pos[base].copy()
    eye = np.array(CAMERAS["front"][0])
    cell.model.body_pos[base] = 0.6 * (before + [0.0, 0.0, 0.045]) + 0.4 * eye - [0.0, 0.0, 0.09]  # in the camera's way
    mujoco.mj_kinematics(cell.model, cell.data)
    assert not [e for e in VesselDetector().detect(cell.photograph()) if e.label == CUP]
    sight.look()
    assert np.allclose(sight.standing(CUP).p_world, before, atol=1e-12)
    cell.model.body_pos[base] = home
    put(cell, CUP, se3.transform(np.eye(3), np.array([0.0, 0.0, 5.0])))
    sight.look()
    with pytest.raises(NotSeen, match="no 'cup' is seen, but bottle"):
        sight.standing(CUP)


def test_a_bottle_that_lies_and_a_second_one_are_refused(cell: MujocoExecutor) -> None:
    sight, T = VesselSight(cell, (BOTTLE, CUP), np.random.default_rng(0)), cell.outcome().Ts_world[BOTTLE]
    sight.look()
    put(cell, BOTTLE, se3.transform(se3.exp_so3(np.array([np.pi / 2, 0.0, 0.0])), T[:3, 3] + [0.0, 0.0, 0.028]))
    sight.look()
    with pytest.raises(NotSeen, match=r"'bottle' (does not stand|is seen)"):
        sight.standing(BOTTLE)
    two = replace(cell.scene.vessel(BOTTLE), name="other", T_world=se3.transform(np.eye(3), np.array([0.40, 0.30, 0.0])))
    crowded = cell_of(replace(cell.scene, vessels=(*cell.scene.vessels, two)))
    try:
        with pytest.raises(NotSeen, match="2 things that look like 'bottle'"):
            VesselSight(crowded, (BOTTLE, CUP), np.random.default_rng(0)).look()
    finally:
        crowded.close()
