"""Whatever comes in at any door of any node ends no node and moves no arm; the same doors let sound input in."""

from __future__ import annotations

import importlib
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rclpy.action import ActionClient
from rclpy.action.graph import get_action_server_names_and_types_by_node
from rclpy.serialization import serialize_message
from trajectory_msgs.msg import JointTrajectory as JointTrajectoryMsg
from visual_irl_msgs.action import RunSkill
from visual_irl_msgs.msg import Keypoints, RobotMotion, SeenThing
from visual_irl_ros import convert, qos

from rest_to_rest import rest_to_rest
from visual_irl.robots import load_robot
from visual_irl.tasks.mapped_motion import MappedMotion
from visual_irl.types import KEYPOINTS, KeypointFrame

STILL = 1e-3
"""Movement of a standing arm under its drives [rad]."""
NODES = {"sim": ("perception", "mapper", "sim"), "robot": ("executor",), "record": ("recorder",)}
CAMERA = "/camera/camera"
FUZZ = settings(
    max_examples=40, deadline=None, database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large],
)  # fmt: skip
UR5E = load_robot("ur5e")
numbers = st.floats(allow_nan=True, allow_infinity=True) | st.sampled_from([0.0, 1e300, -1.0])
WAYS = ("positions", "velocities", "robot", "names", "time", "opening", "base", "task", "things", "approach")
words = st.text(st.characters(codec="ascii", exclude_characters="\0"), max_size=8) | st.sampled_from(
    ["world", "ur5e", "/no/such"]
)


def kind_of(name: str) -> Any:
    package, group, kind = name.split("/")
    return getattr(importlib.import_module(f"{package}.{group}"), kind)


@st.composite
def arbitrary(draw: st.DrawFn, kind: Any) -> Any:
    """A message whose every field has some value of its type."""
    message = kind()
    for field, text in kind.get_fields_and_field_types().items():
        setattr(message, field, draw(value_of(text)))
    return message


def value_of(text: str) -> st.SearchStrategy:
    many = re.fullmatch(r"sequence<(.*?)(?:, (\d+))?>", text)
    if many:
        return st.lists(value_of(many[1]), max_size=min(5, int(many[2] or 5)))
    fixed = re.fullmatch(r"(.*)\[(\d+)\]", text)
    if fixed:
        return st.lists(value_of(fixed[1]), min_size=int(fixed[2]), max_size=int(fixed[2]))
    if text.startswith(("string", "wstring")):
        bound = re.search(r"<(\d+)>", text)
        return words.map(lambda w: w[: int(bound[1])] if bound else w)
    if text in ("double", "float"):
        return numbers if text == "double" else st.floats(width=32)
    if text == "boolean":
        return st.booleans()
    if text == "octet":
        return st.binary(min_size=1, max_size=1)
    whole = re.fullmatch(r"(u?)int(\d+)", text)
    if whole:
        bits = int(whole[2])
        return st.integers(0, 2**bits - 1) if whole[1] else st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    package, name = text.split("/")
    return arbitrary(kind_of(f"{package}/msg/{name}"))


def doors(watcher: Any, nodes: tuple[str, ...]) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Topic, service and action -> type, of everything that these nodes take in."""
    topics, services, actions = {}, {}, {}
    for node in nodes:
        topics |= dict(watcher.get_subscriber_names_and_types_by_node(node, "/"))
        services |= dict(watcher.get_service_names_and_types_by_node(node, "/"))
        actions |= dict(get_action_server_names_and_types_by_node(watcher, node, "/"))
    services = {name: kinds for name, kinds in services.items() if "/_action/" not in name}
    return tuple({name: kind_of(kinds[0]) for name, kinds in found.items()} for found in (topics, services, actions))  # type: ignore


@pytest.mark.timeout(280)
@pytest.mark.parametrize("name", NODES)
def test_no_door_of_any_node_lets_in_what_ends_it_or_moves_the_arm(
    watcher: Any, launched: Callable, tmp_path: Path, name: str
) -> None:
    given_at_start = {"trajectory": str(tmp_path / "none.npz")} if name == "robot" else {}
    nodes = launched(name, **given_at_start)
    assert watcher.up(*NODES[name])
    topics, services, actions = doors(watcher, NODES[name])
    known = {  # what the nodes say they take in; more (a clock, parameters) may come from the middleware
        "sim": {
            "/mapper/joint_target",
            "/perception/keypoints",
            "/joint_states",
            f"{CAMERA}/color/image_raw",
            "/mapper/retarget",
        },
        "robot": {"/motion", "/executor/reset", "/executor/run_skill", "/executor/change_state"},
        "record": {"/recorder/record", "/perception/keypoints", f"{CAMERA}/color/image_raw"},
    }[name]
    assert known <= topics.keys() | services.keys() | actions.keys()
    out = {topic: watcher.create_publisher(kind, topic, qos.OFFER) for topic, kind in topics.items()}
    ask = {service: watcher.create_client(kind, service) for service, kind in services.items()}
    act = {action: ActionClient(watcher, kind, action) for action, kind in actions.items()}
    assert watcher.wait(lambda: all(p.get_subscription_count() for p in out.values()), 30.0)
    watcher.q.clear()

    @FUZZ
    @given(st.data())
    def fuzz(data: st.DataObject) -> None:
        for topic, publisher in out.items():
            sound = data.draw(arbitrary(topics[topic]))
            raw = bytearray(serialize_message(sound))
            publisher.publish(sound)
            for place, value in data.draw(st.lists(st.tuples(st.integers(0, len(raw) - 1), st.integers(0, 255)), max_size=4)):
                raw[place] = value
            publisher.publish(bytes(raw[: data.draw(st.integers(0, len(raw)))]))
        for service, client in ask.items():
            client.call_async(data.draw(arbitrary(services[service].Request)))
        for action, client in act.items():
            goal = data.draw(arbitrary(actions[action].Goal))
            if name == "record":
                goal.folder = str(tmp_path / "nowhere" / "\0")[: data.draw(st.integers(0, 40))].replace("\0", "")
                goal.duration = 0.01
            client.send_goal_async(goal)
        watcher.rest(0.02)

    fuzz()
    watcher.rest(1.0)
    alive = {node: process.poll() for node, process in nodes.items() if node in NODES[name]}
    assert set(alive.values()) == {None}, alive
    if watcher.q:
        assert float(np.ptp(np.array(watcher.q), axis=0).max()) < STILL
    watcher.said.clear()
    assert watcher.wait(lambda: set(NODES[name]) <= watcher.said.keys(), 20.0), "every node still answers"


def spoilt(data: st.DataObject, values: Any) -> list[float]:
    """Numbers of which one is impossible, missing or too many."""
    values = [float(v) for v in values]
    how = data.draw(st.sampled_from(["not finite", "too far", "short", "long"]))
    place = data.draw(st.integers(0, len(values) - 1))
    if how == "short":
        return values[:place]
    if how == "long":
        return values + [0.0] * data.draw(st.integers(1, 5))
    values[place] = data.draw(st.sampled_from([np.nan, np.inf, -np.inf] if how == "not finite" else [1e300, -1e9, 1e5]))
    return values


@pytest.mark.timeout(200)
def test_nearly_sound_targets_and_keypoints_are_refused_counted_and_move_nothing(watcher: Any, launched: Callable) -> None:
    launched("sim")
    assert watcher.up("mapper", "sim")
    targets = watcher.create_publisher(JointTrajectoryMsg, "mapper/joint_target", qos.COMMAND)
    keypoints = watcher.create_publisher(Keypoints, "perception/keypoints", qos.NEWEST)
    assert watcher.wait(lambda: targets.get_subscription_count() > 0 and keypoints.get_subscription_count() > 0, 30.0)
    k = len(KEYPOINTS)
    shown = KeypointFrame(0, np.full((k, 3), 0.3), np.tile(1e-4 * np.eye(3), (k, 1, 1)), np.ones(k), np.ones((k, 2)))
    watcher.q.clear()
    sent = [0, 0]

    @FUZZ
    @given(st.data())
    def fuzz(data: st.DataObject) -> None:
        target = convert.target_to_msg(UR5E.joint_names, UR5E.home + 0.3, time.time_ns())
        person = convert.keypoints_to_msg(shown, "world")
        person.header = convert.header(time.time_ns(), "world")
        how = data.draw(st.sampled_from(["numbers", "names", "stamp", "points or frame"]))
        if how == "numbers":
            target.points[0].positions = spoilt(data, target.points[0].positions)
            person.positions = spoilt(data, person.positions)
        elif how == "names":
            target.joint_names[data.draw(st.integers(0, 5))] = "x"
            person.names = [*person.names[:-1], "x"]
        elif how == "stamp":
            late = data.draw(st.sampled_from([-3600.0, -2.0, 60.0, 1e9]))
            target.header = convert.header(max(0, time.time_ns() + round(1e9 * min(late, 1e8))), "")
            person.header = convert.header(max(0, time.time_ns() + round(1e9 * min(late, 1e8))), "world")
        else:
            target.points = target.points * data.draw(st.sampled_from([0, 2, 50]))
            person.header.frame_id = data.draw(st.sampled_from(["", "camera", "elsewhere"]))
        targets.publish(target)
        keypoints.publish(person)
        sent[0] += 1
        watcher.rest(0.02)

    fuzz()
    assert float(np.ptp(np.array(watcher.q), axis=0).max()) < STILL
    before = {name: dict(watcher.values[name]) for name in ("sim", "mapper")}
    assert watcher.wait(lambda: watcher.values["sim"] != before["sim"], 5.0) or True
    refused = {
        name: sum(int(v) for key, v in watcher.values[name].items() if "refused" in key and v.isdigit())
        for name in ("sim", "mapper")
    }
    assert min(refused.values()) > 0.5 * sent[0], f"{refused} of {sent[0]} were counted"
    assert watcher.values["mapper"].get("keypoints accepted", "0") == "0"
    watcher.rest(0.2)
    for _ in range(40):  # the same door lets a sound target in
        targets.publish(convert.target_to_msg(UR5E.joint_names, UR5E.home + 0.1, time.time_ns()))
        watcher.rest(0.05)
    assert np.abs(watcher.q[-1] - UR5E.home).max() > 0.05


@pytest.mark.timeout(200)
def test_nearly_sound_motions_are_never_executed(watcher: Any, launched: Callable) -> None:
    nodes = launched("robot", trajectory="/no/such/file.npz")
    assert watcher.up("executor")
    assert nodes["skill"].wait(30.0) == 1, "a file that is not there is said, and nothing offered"
    motions = watcher.create_publisher(RobotMotion, "motion", qos.OFFER)
    client = ActionClient(watcher, RunSkill, "executor/run_skill")
    assert client.wait_for_server(30.0)
    assert watcher.wait(lambda: motions.get_subscription_count() > 0, 30.0)
    sound = rest_to_rest(UR5E, UR5E.home, UR5E.home + 0.2 * np.eye(6)[0], 2.0)
    motion = MappedMotion(sound, UR5E, UR5E.T_world_base)

    def outcome(message: RobotMotion) -> Any:
        motions.publish(message)
        watcher.rest(0.1)
        asked = client.send_goal_async(RunSkill.Goal(skill="swing"))
        assert watcher.wait(asked.done, 20.0)
        if not asked.result().accepted:
            return None
        told = asked.result().get_result_async()
        assert watcher.wait(told.done, 40.0)
        return told.result().result

    watcher.q.clear()

    @settings(FUZZ, max_examples=12)
    @given(st.data())
    def fuzz(data: st.DataObject) -> None:
        message = convert.motion_to_msg(motion, "swing", "", time.time_ns())
        point = message.trajectory.points[data.draw(st.integers(20, 80))]
        how = data.draw(
            st.sampled_from(["positions", "velocities", "robot", "names", "time", "opening", "base", "task", "things"])
        )
        if how in ("positions", "velocities"):
            setattr(point, how, spoilt(data, getattr(point, how)))
        elif how == "robot":
            message.robot = "panda"
        elif how == "names":
            message.trajectory.joint_names[0] = "x"
        elif how == "time":
            point.time_from_start.sec = data.draw(st.sampled_from([-5, 0, 2**31 - 1]))
            point.time_from_start.nanosec = 0
        elif how == "base":
            message.base.position.x += data.draw(st.sampled_from([0.01, float("nan"), 1e9]))
        elif how == "approach":
            message.approach = data.draw(st.sampled_from([-1.0, 1.0, 1e9, float("nan")]))
        elif how == "task":
            message.task = data.draw(st.sampled_from(["no_such_task", "pouring"]))
            message.things = [SeenThing(name="x", radius=0.03, height=float("nan"))]
        elif how == "things":
            message.task = "onion_sorting"
            radius = data.draw(st.sampled_from([0.0, -1.0, float("nan"), 1e9]))
            message.things = [SeenThing(name="onion_0", radius=radius, height=float("nan"))]
        else:
            message.opening = spoilt(data, message.opening)[: data.draw(st.integers(0, 90))]
        told = outcome(message)
        assert told is None or told.error_code in (RunSkill.Result.REFUSED, RunSkill.Result.NO_MOTION), told

    fuzz()
    assert float(np.ptp(np.array(watcher.q), axis=0).max()) < STILL
    assert nodes["executor"].poll() is None
    told = outcome(convert.motion_to_msg(motion, "swing", "", time.time_ns()))
    assert told is not None and told.error_code == RunSkill.Result.SUCCESS, told
