"""MoveIt's action, whose interfaces have no wheel: its wire is stood in for, as moveit_msgs documents it."""

from __future__ import annotations

import sys
from collections import defaultdict
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from visual_irl_ros import move_group

from visual_irl.errors import MissingDependency, NoPathFound
from visual_irl.planning.planner import PlannerConfig
from visual_irl.robots import load_robot
from visual_irl.robots.obstacles import World

UR5E = load_robot("ur5e")


class Fields(SimpleNamespace):
    """A message whose parts exist when they are named."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        setattr(self, name, Fields())
        return getattr(self, name)


class Done:
    def __init__(self, value: Any) -> None:
        self.value = value

    def done(self) -> bool:
        return True

    def result(self) -> Any:
        return self.value


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    told: dict[str, Any] = defaultdict(lambda: 1, there=True)

    class Client:
        _action_name = "move_action"

        def __init__(self, *_: Any, **__: Any) -> None: ...

        def wait_for_server(self, seconds: float) -> bool:
            return told["there"]

        def send_goal_async(self, goal: Any) -> Done:
            told["goal"] = goal
            state, at = goal.request.start_state.joint_state, goal.request.goal_constraints[0].joint_constraints
            points = [
                SimpleNamespace(positions=state.position[::-1]),
                SimpleNamespace(positions=[c.position for c in at][::-1]),
            ]
            path = SimpleNamespace(joint_names=state.name[::-1], points=points)
            answer = SimpleNamespace(
                error_code=SimpleNamespace(val=told["code"]), planned_trajectory=SimpleNamespace(joint_trajectory=path)
            )
            return Done(SimpleNamespace(accepted=True, get_result_async=lambda: Done(SimpleNamespace(result=answer))))

    messages = SimpleNamespace(
        JointConstraint=SimpleNamespace, Constraints=SimpleNamespace, MoveItErrorCodes=SimpleNamespace(SUCCESS=1)
    )
    for name, module in {
        "moveit_msgs.msg": messages,
        "moveit_msgs.action": SimpleNamespace(MoveGroup=SimpleNamespace(Goal=Fields)),
        "shape_msgs.msg": SimpleNamespace(),
    }.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(move_group, "ActionClient", Client)
    monkeypatch.setattr(move_group, "Node", lambda name: None)
    monkeypatch.setattr(move_group.rclpy, "spin_until_future_complete", lambda *_, **__: None)
    return told


def test_move_group_is_asked_for_a_path_only_and_its_answer_is_timed(asked: dict[str, Any]) -> None:
    goal = UR5E.home + 0.2
    way = move_group.MoveGroupPlanner(UR5E, PlannerConfig(time_limit=2.0)).plan(UR5E.home, goal, World())
    np.testing.assert_allclose(way.q[[0, -1]], [UR5E.home, goal], atol=1e-9)
    assert asked["goal"].planning_options.plan_only is True
    assert asked["goal"].request.group_name == "ur_manipulator" and asked["goal"].request.allowed_planning_time == 2.0


def test_what_move_group_cannot_do_is_said(asked: dict[str, Any]) -> None:
    planner = move_group.MoveGroupPlanner(UR5E)
    asked["code"] = -1
    with pytest.raises(NoPathFound, match="error code -1"):
        planner.plan(UR5E.home, UR5E.home + 0.2, World())
    asked["there"] = False
    with pytest.raises(MissingDependency, match="start the MoveIt configuration of 'ur5e'"):
        move_group.MoveGroupPlanner(UR5E)


def test_moveit_that_is_not_installed_is_said() -> None:
    with pytest.raises(MissingDependency, match="planner 'ompl'"):
        move_group.MoveGroupPlanner(UR5E)
