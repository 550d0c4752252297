"""A motion that would collide is changed only where it must be, and what is reported is what was changed."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from visual_irl.errors import InCollision, InvalidInput, MissingDependency, RefusedTrajectory
from visual_irl.execution.guard import SIMULATED, approve
from visual_irl.execution.state import RobotState
from visual_irl.planning import PLANNERS
from visual_irl.planning.ompl_planner import OmplPlanner
from visual_irl.planning.planner import PlannerConfig
from visual_irl.planning.repair import Repaired, repair
from visual_irl.robots import load_robot
from visual_irl.robots.model import RobotModel
from visual_irl.robots.obstacles import Obstacle, World
from visual_irl.types import JointTrajectory


@pytest.fixture(params=("panda", "ur5e"))
def robot(request: pytest.FixtureRequest) -> RobotModel:
    return load_robot(request.param)


def sweep(robot: RobotModel, middle: np.ndarray, angle: float, share: float) -> JointTrajectory:
    """A turn about the base's axis through the posture `middle` [rad]."""
    start, end = middle.copy(), middle.copy()
    start[0] -= angle
    end[0] += angle
    return OmplPlanner(robot, PlannerConfig(share=share)).plan(start, end, World(), opening=0.02)


def refused_then_approved(given: JointTrajectory, repaired: Repaired, robot: RobotModel, world: World) -> None:
    state = RobotState.at_rest(robot.joint_names, given.q[0])
    with pytest.raises(RefusedTrajectory, match="distance to"):
        approve(given, robot, state, world, SIMULATED, now_ns=state.stamp_ns)
    approve(repaired.trajectory, robot, state, world, SIMULATED, now_ns=state.stamp_ns)


def test_something_in_the_hands_way_is_gone_around_and_the_rest_stays(robot: RobotModel) -> None:
    given = sweep(robot, robot.home, 0.6, 0.4)
    p = robot.fk(robot.home)[:3, 3]
    world = World((Obstacle.sphere("cup", p + [0.02, 0.0, -0.03], 0.05),))
    repaired = repair(given, robot, world)
    refused_then_approved(given, repaired, robot, world)
    (stretch,) = repaired.stretches
    assert stretch.how == "detour" and 0.1 < repaired.changed.mean() < 0.7
    outside = (given.t < stretch.start) | (given.t > stretch.end)
    assert not repaired.changed[outside].any() and repaired.hand_moved[outside].max() == 0.0
    assert 0.03 < repaired.hand_moved.max() < 0.4 and repaired.limbs_turned.max() > 0.0
    assert repaired.hand_turned.shape == given.t.shape and repaired.hand_turned[outside].max() == 0.0
    for k in np.flatnonzero(outside)[::10]:  # the path itself passes there still, whatever its timing
        assert np.abs(repaired.trajectory.q - given.q[k]).max(axis=1).min() < 0.03  # samples lie up to that far apart


def test_something_behind_the_hand_moves_the_elbow_alone() -> None:
    panda = load_robot("panda")
    middle = np.array([0.0, 0.3, 0.8, -1.9, -0.3, 2.2, 0.8])
    given = sweep(panda, middle, 0.8, 0.3)
    elbow = panda.fk(middle, panda.elbow_frame)[:3, 3]
    away = elbow * [1.0, 1.0, 0.0] / np.linalg.norm(elbow[:2])
    world = World((Obstacle.sphere("lamp", elbow + 0.16 * away, 0.04),))
    repaired = repair(given, panda, world)
    refused_then_approved(given, repaired, panda, world)
    assert {s.how for s in repaired.stretches} == {"same hand"}
    assert repaired.hand_moved.max() < 1e-4 and repaired.hand_turned.max() < 1e-3
    assert repaired.limbs_turned.max() > np.radians(5.0)
    np.testing.assert_array_equal(repaired.trajectory.opening, 0.02)


def test_a_free_motion_is_returned_as_it_is(robot: RobotModel) -> None:
    given = sweep(robot, robot.home, 0.3, 0.4)
    repaired = repair(given, robot, World())
    assert repaired.trajectory is given and not repaired.changed.any() and repaired.stretches == ()


def test_what_no_repair_may_change_is_refused(robot: RobotModel) -> None:
    given = sweep(robot, robot.home, 0.3, 0.4)
    ball = Obstacle.sphere("ball", robot.fk(given.q[-1])[:3, 3], 0.03)
    with pytest.raises(InCollision, match=r"at its end the motion has link .* from 'ball'"):
        repair(given, robot, World((ball,)))
    other = load_robot("ur10e" if robot.name == "panda" else "panda")
    with pytest.raises(InvalidInput, match="map it onto this robot"):
        repair(given, other, World())


def test_moveit_that_is_not_there_is_said_in_one_line(robot: RobotModel) -> None:
    with pytest.raises(MissingDependency, match=r"ros-\$ROS_DISTRO-moveit-py.*planner 'ompl'"):
        PLANNERS.load("moveit")(robot)


def test_moveit_is_asked_as_it_documents_and_its_answer_is_timed_and_checked(
    robot: RobotModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MoveIt has no wheel: its wire is stood in for, as moveit_py's bindings document it."""
    told: dict[str, object] = {"objects": []}
    goal = robot.home + 0.2
    names = tuple(reversed(robot.joint_names))

    class State:
        def __init__(self, model: object) -> None:
            self.q: np.ndarray | None = None

        def set_joint_group_positions(self, group: str, q: np.ndarray) -> None:
            told["group"], self.q = group, q

        def update(self) -> None: ...

    class Component:
        def set_start_state(self, robot_state: State) -> None:
            told["start"] = robot_state.q

        def set_goal_state(self, robot_state: State) -> None:
            told["goal"] = robot_state.q

        def plan(self, single_plan_parameters: SimpleNamespace) -> SimpleNamespace:
            told["time"] = single_plan_parameters.planning_time
            points = [SimpleNamespace(positions=told[k][::-1]) for k in ("start", "goal")]
            found = SimpleNamespace(joint_trajectory=SimpleNamespace(joint_names=names, points=points))
            return SimpleNamespace(trajectory=SimpleNamespace(get_robot_trajectory_msg=lambda: found))

    class Scene:
        current_state = SimpleNamespace(update=lambda: None)

        def __enter__(self) -> Scene:
            return self

        def __exit__(self, *_: object) -> None: ...

        def remove_all_collision_objects(self) -> None:
            told["objects"] = []

        def apply_collision_object(self, message: SimpleNamespace) -> None:
            told["objects"].append(message)

    class Pose:
        def __init__(self) -> None:
            self.position, self.orientation = SimpleNamespace(), SimpleNamespace()

    class CollisionObject(SimpleNamespace):
        ADD = b"\x00"

        def __init__(self) -> None:
            super().__init__(header=SimpleNamespace(), pose=Pose())

    class SolidPrimitive(SimpleNamespace):
        BOX, SPHERE, CYLINDER = 1, 2, 3

    moveit = SimpleNamespace(
        get_planning_component=lambda group: Component(),
        get_robot_model=lambda: None,
        get_planning_scene_monitor=lambda: SimpleNamespace(read_write=Scene),
    )
    planning = SimpleNamespace(
        MoveItPy=lambda node_name: moveit, PlanRequestParameters=lambda moveit, namespace: SimpleNamespace()
    )
    wire = {
        "moveit.planning": planning,
        "moveit.core.robot_state": SimpleNamespace(RobotState=State),
        "moveit_msgs.msg": SimpleNamespace(CollisionObject=CollisionObject),
        "shape_msgs.msg": SimpleNamespace(SolidPrimitive=SolidPrimitive, Plane=SimpleNamespace),
    }
    for name, module in wire.items():
        monkeypatch.setitem(sys.modules, name, module)
    pillar = Obstacle.cylinder("pillar", np.array([[1.0, 0, 0, -1], [0, 1, 0, 0.5], [0, 0, 1, 0.2], [0, 0, 0, 1]]), 0.05, 0.2)
    base = np.array([[0.0, -1.0, 0, 0.3], [1, 0, 0, 0], [0, 0, 1, 0.1], [0, 0, 0, 1]])
    trajectory = PLANNERS.load("moveit")(robot, PlannerConfig(time_limit=2.0)).plan(
        robot.home, goal, World((pillar,), T_world_base=base)
    )
    np.testing.assert_allclose(trajectory.q[[0, -1]], [robot.home, goal], atol=1e-9)
    (message,) = told["objects"]
    assert told["time"] == 2.0 and message.primitives[0] == SolidPrimitive(type=3, dimensions=[0.4, 0.05])
    at = message.primitive_poses[0].position
    np.testing.assert_allclose([at.x, at.y, at.z], [0.5, 1.3, 0.1])  # the world turned by a quarter, seen from the base
