"""What ROS 2 users start is complete and names only what exists: checked without ROS being installed."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from scipy.spatial.transform import Rotation

from visual_irl.errors import InvalidInput, MissingFile, UnknownName, VisualIrlError
from visual_irl.execution.following import FollowConfig
from visual_irl.execution.streaming import StreamConfig
from visual_irl.io.artifacts import save_trajectory
from visual_irl.mapping.live_arm import LiveArmConfig
from visual_irl.mapping.online import OnlineConfig
from visual_irl.perception import DETECTORS
from visual_irl.perception.cameras.player import PlayConfig
from visual_irl.perception.live_stream import LiveStreamConfig
from visual_irl.robots import load_robot
from visual_irl.tasks.scene import Scene
from visual_irl.types import JointTrajectory
from visual_irl.verbs.launch_file import LaunchFile, read_launch_file

ROOT = Path(__file__).parents[2]
PACKAGES = ROOT / "ros2_ws" / "src"
NODES = PACKAGES / "visual_irl_ros" / "visual_irl_ros"
LAUNCH = sorted((ROOT / "launch").glob("*.launch.py"))
CONFIGS = (FollowConfig(), StreamConfig(), LiveArmConfig(), OnlineConfig(), LiveStreamConfig(), PlayConfig())


def module(name: str) -> ModuleType:
    """A module of the ROS package that needs no ROS."""
    spec = importlib.util.spec_from_file_location(f"visual_irl_ros_{name}", NODES / f"{name}.py")
    assert spec and spec.loader
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = loaded  # dataclasses and NamedTuples look their module up
    spec.loader.exec_module(loaded)
    return loaded


gate, parameters, missed, priority, offered_motion = map(module, ("gate", "parameters", "missed", "priority", "offered_motion"))


def interfaces() -> list[Path]:
    return sorted(p for kind in ("msg", "srv", "action") for p in (PACKAGES / "visual_irl_msgs" / kind).iterdir())


def parts(path: Path) -> list[tuple[str, str]]:
    return [(f"visual_irl_msgs/msg/{path.stem}{i or ''}", text) for i, text in enumerate(path.read_text().split("\n---\n"))]


def test_every_interface_is_well_formed_built_and_commented() -> None:
    types: dict[str, Any] = {}
    for path in interfaces():
        for name, text in parts(path):
            types.update(get_types_from_msg(text, name))
            before = ""
            for line in text.splitlines():
                if line and not line.startswith("#"):
                    assert before.startswith("#") or before, f"{path.name}: '{line}' has no comment above it or its group"
                before = line
    store = get_typestore(Stores.ROS2_JAZZY)
    store.register(types)
    for name in types:
        store.generate_msgdef(name, ros_version=2)  # every nested type exists
    cmake = (PACKAGES / "visual_irl_msgs" / "CMakeLists.txt").read_text()
    assert set(re.findall(r'"(\w+/\w+\.\w+)"', cmake)) == {f"{p.parent.name}/{p.name}" for p in interfaces()}


@pytest.mark.parametrize("package", sorted(p.name for p in PACKAGES.iterdir()))
def test_package_manifests_are_complete(package: str) -> None:
    root = ET.parse(PACKAGES / package / "package.xml").getroot()
    assert root.attrib["format"] == "3"
    assert root.findtext("name") == package
    for tag in ("version", "description", "maintainer", "license"):
        assert root.findtext(tag), tag
    assert root.findtext("license") == "Apache-2.0"
    assert root.findtext("export/build_type") in ("ament_cmake", "ament_python")
    stated = {e.text for e in root if e.tag.endswith("depend")}
    if package == "visual_irl_ros":
        assert imported(NODES) <= stated
    if package == "visual_irl_bringup":
        assert {n.package for f in LAUNCH for n in read_launch_file(f).nodes} | imported(ROOT / "launch") <= stated
    if package == "visual_irl_msgs":
        used = {m for p in interfaces() for m in re.findall(r"^(\w+)/\w+", p.read_text(), re.M)}
        assert used <= stated


def imported(folder: Path) -> set[str]:
    """Packages from outside that a folder's files import, by their names for rosdep; `visual_irl` itself has none."""
    found = set()
    for path in folder.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module.split(".")[0])
            elif isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
    return {
        {"numpy": "python3-numpy"}.get(n, n) for n in found - set(sys.stdlib_module_names) - {"visual_irl", "visual_irl_ros"}
    }


def declared(executable: str) -> set[str]:
    """Parameters that a node declares: by name, or as the fields of a configuration."""
    source = (NODES / f"{executable}.py").read_text()
    if "Installation(self)" in source:
        source += (NODES / "installation.py").read_text()
    names = set(re.findall(r'parameters\.fixed\(\s*(?:self|node),\s*"(\w+)"|declare_parameter\(\s*"(\w+)"', source))
    names = {name for pair in names for name in pair if name}
    if "parameters.declare(self, DETECTORS.load(" in source:
        names |= {p.name for p in parameters.described(DETECTORS.load("mediapipe")())}
    for config in CONFIGS:
        if f"parameters.declare(self, {type(config).__name__}(" in source:
            names |= {p.name for p in parameters.described(config)}
    return names


@pytest.mark.parametrize("path", LAUNCH, ids=lambda p: p.name)
def test_a_launch_file_names_only_what_exists(path: Path) -> None:
    launch = read_launch_file(path)
    setup = (PACKAGES / "visual_irl_ros" / "setup.py").read_text()
    assert launch.nodes
    assert all(argument.description for argument in launch.arguments)
    used = set()
    for node in launch.nodes:
        assert node.package == "visual_irl_ros"
        assert node.ends_all, "as with `visual-irl up`, nothing goes on without one of its nodes"
        assert f'"{node.executable}"' in setup
        assert set(node.parameters) <= declared(node.executable) | {"use_sim_time"}
        used |= {name for value in node.parameters.values() for name in value.needs}
        used |= {name for _, value in node.remappings for name in value.needs}
        source = (NODES / f"{node.executable}.py").read_text()
        for topic, _ in node.remappings:
            assert f'"{topic}' in source, f"'{topic}' is no topic of {node.executable}"
    assert used == {argument.name for argument in launch.arguments}, "every argument does something"


def test_every_argument_that_is_documented_exists() -> None:
    known = {argument.name for path in LAUNCH for argument in read_launch_file(path).arguments}
    known |= {
        name for path in (ROOT / "urdf").glob("*.xacro") for name in re.findall(r'xacro:arg name="(\w+)"', path.read_text())
    }
    known |= {"align_depth.enable", "robot_description"}  # the camera driver's, and robot_state_publisher's
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))):
        text = path.read_text()
        assert set(re.findall(r"([\w.]+):=", text)) <= known, path.name
        for name, rest in re.findall(r"visual-irl up (\w+)(.*)", text):  # those of a command, of that very file
            of_file = {a.name for a in read_launch_file(ROOT / "launch" / f"{name}.launch.py").arguments}
            assert set(re.findall(r"(\w+):=", rest.partition("`")[0])) <= of_file, name


def test_there_are_the_four_launch_files() -> None:
    assert [p.name for p in LAUNCH] == ["perception.launch.py", "record.launch.py", "robot.launch.py", "sim.launch.py"]


def test_a_launch_file_that_is_not_understood_is_refused(tmp_path: Path) -> None:
    text = (ROOT / "launch" / "robot.launch.py").read_text()
    path = tmp_path / "x.launch.py"
    path.write_text(text.replace('LaunchConfiguration("skill")', 'LaunchConfiguration("skil")'))
    with pytest.raises(InvalidInput, match="undeclared skil"):
        read_launch_file(path)
    path.write_text(text.replace('LaunchConfiguration("skill")', "1 + 1"))
    with pytest.raises(InvalidInput, match="line"):
        read_launch_file(path)


def test_up_starts_what_launch_would() -> None:
    launch: LaunchFile = read_launch_file(ROOT / "launch" / "sim.launch.py")
    arguments = launch.resolved({"robot": "panda", "camera": "/c"})
    line = launch.nodes[0].command(Path("/x/perception"), arguments)
    assert line[:4] == ["/x/perception", "--ros-args", "-r", "__node:=perception"]
    assert "color/image_raw:=/c/color/image_raw" in line
    assert "loop:=false" in line, "a boolean, not text"
    assert "robot:='panda'" in launch.nodes[1].command(Path("/x/mapper"), arguments)
    with pytest.raises(UnknownName, match="robot"):
        launch.resolved({"robt": "panda"})


@pytest.mark.parametrize("path", sorted(NODES.glob("*.py")), ids=lambda p: p.name)
def test_nodes_are_thin_and_state_their_quality_of_service(path: Path) -> None:
    source = path.read_text()
    assert source.startswith('"""')
    if "LifecycleNode" in source or "(Node)" in source:
        lines = [line for line in source.splitlines() if line.strip()]
        assert len(lines) <= 150, "a node declares, converts, calls, converts back"
    for node in ast.walk(ast.parse(source)):
        called = node.func if isinstance(node, ast.Call) else None
        name = getattr(called, "attr", getattr(called, "id", ""))
        if name in (
            "create_publisher",
            "create_subscription",
            "create_service",
            "create_client",
            "ActionServer",
            "ActionClient",
        ):
            text = ast.unparse(node)
            assert "qos." in text or "profile" in text, f"{path.name}: {text}"


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: type(c).__name__)
def test_parameters_are_the_configurations_own(config: Any) -> None:
    found = list(parameters.described(config))
    assert found
    for p in found:
        if "." not in p.name and isinstance(p.default, float):
            assert p.description, f"{p.name} has no docstring that says its unit"
    same = parameters.changed(config, {p.name: p.default for p in found})
    assert same == config
    with pytest.raises(UnknownName):
        parameters.changed(config, {"no_such": 1.0})
    with pytest.raises(InvalidInput):
        parameters.changed(config, {found[0].name: b"?"})


def test_bounds_are_what_the_configuration_takes() -> None:
    assert parameters.bounds_of(FollowConfig(), "target_age") == pytest.approx((0.001, 2.0))
    assert parameters.bounds_of(PlayConfig(), "rate") == pytest.approx((0.0, 1000.0))
    assert parameters.bounds_of(LiveArmConfig(), "shortest") == pytest.approx((0.02, LiveArmConfig().longest))
    assert parameters.bounds_of(StreamConfig(), "timeout")[0] >= 0.0
    assert parameters.bounds_of(LiveArmConfig(), "side") is None
    assert parameters.bounds_of(LiveArmConfig(), "elbow_up") is None
    for config in CONFIGS:
        for p in parameters.described(config):
            for bound, outwards in zip(p.bounds or (), (-1, 1), strict=False):
                if np.isfinite(bound):
                    parameters.changed(config, {p.name: bound})
                    beyond = bound + outwards * (1 if isinstance(p.default, int) else 1e-6)
                    with pytest.raises(VisualIrlError):
                        parameters.changed(config, {p.name: beyond})


def test_a_configuration_refuses_its_own_values() -> None:
    assert parameters.changed(FollowConfig(), {"speed_share": 1}).speed_share == 1.0
    with pytest.raises(VisualIrlError, match="speed_share"):
        parameters.changed(FollowConfig(), {"speed_share": 1.5})
    assert parameters.changed(OnlineConfig(), {"pull.rest": 0.25}).pull.rest == 0.25
    assert parameters.changed(LiveStreamConfig(), {"keypoints.lifting.patch": 0.02}).keypoints.lifting.patch == 0.02
    assert parameters.changed(LiveStreamConfig(), {"smoothing.patience": 1}).smoothing.patience == 1.0
    for name, value in {"smoothing.gate": 0.0, "smoothing.patience": float("nan"), "hands.reach": -0.1}.items():
        with pytest.raises(VisualIrlError, match=name.split(".")[1]):
            parameters.changed(LiveStreamConfig(), {name: value})


def may_be_prompt() -> bool:
    before = os.sched_getscheduler(0)
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(priority.LEVEL))
    except PermissionError:
        return False
    os.sched_setscheduler(0, before, os.sched_param(0))
    return True


def test_a_prompt_thread_runs_before_others_where_that_is_granted_and_is_an_ordinary_one_afterwards(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    granted = may_be_prompt()
    with pytest.raises(KeyError), priority.prompt() as given:
        assert given == granted
        with priority.prompt() as again:
            assert not again, "what is there already stays"
        assert os.sched_getscheduler(0) == (os.SCHED_RR if granted else os.SCHED_OTHER)
        raise KeyError
    assert os.sched_getscheduler(0) == os.SCHED_OTHER

    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    with priority.prompt() as given:
        assert not given
    assert priority.prompt_middleware() == 0, "no thread of the middleware runs here"


def test_messages_that_never_came_are_counted_for_each_publisher() -> None:
    count = missed.Missed()

    def told(topic: str, publisher: bytes, number: int | None) -> int:
        return count.before(topic, {"publication_sequence_number": number, "publisher_gid": {"data": publisher}})

    assert count.before("/a", {}) == 0 and not count.numbered, "a middleware that numbers nothing"
    assert told("/a", b"x", 41) == 0, "what was sent before anybody listened is not lost"
    assert [told("/a", b"x", n) for n in (42, 43, 46, 47)] == [0, 0, 2, 0] and count.numbered
    assert [told("/a", b"y", 1), told("/b", b"x", 7), told("/a", b"y", 2), told("/b", b"x", 9)] == [0, 0, 0, 1]


class _Message:
    """A header and a value, as any stamped message has them."""

    def __init__(self, stamp_ns: int, frame: str, value: float) -> None:
        class Bag:
            pass

        self.header, self.value = Bag(), value
        self.header.stamp = Bag()
        self.header.stamp.sec, self.header.stamp.nanosec = divmod(stamp_ns, 10**9)
        self.header.frame_id = frame


def positive(message: Any) -> float:
    if not message.value > 0.0:
        raise InvalidInput(f"value {message.value}")
    return float(message.value)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(-(10**10), 10**10), st.sampled_from(["world", "camera", ""]), st.floats()),
        min_size=1,
        max_size=20,
    )
)
def test_a_gate_lets_in_only_what_is_sound_new_and_fresh(rows: list[tuple[int, str, float]]) -> None:
    door = gate.Gate(positive, max_age=1.0, frames=("world",))
    now, newest = 10**12, -1
    for age, frame, value in rows:
        now += 10**7
        admitted = door.admit(_Message(now - age, frame, value), now)
        if admitted is not None:
            assert admitted == value > 0.0
            assert frame == "world"
            assert -gate.FUTURE_NS <= age <= 10**9
            assert now - age > newest
            newest = now - age
    assert door.accepted + sum(door.refused.values()) == len(rows)


def test_a_gate_knows_silence_and_why_it_refused() -> None:
    door = gate.Gate(positive, max_age=1.0)
    assert door.silent(0, 0.5)
    assert door.admit(_Message(10**9, "", 1.0), 10**9) == 1.0
    assert not door.silent(10**9 + 4 * 10**8, 0.5)
    assert door.admit(_Message(10**9 + 10**8, "", float("nan")), 10**9 + 10**8) is None
    assert door.silent(10**9 + 6 * 10**8, 0.5), "what is refused does not count as input"
    assert door.counts() == {"accepted": "1", "refused InvalidInput": "1", "last refusal": "value nan"}


COMPOSE = ROOT / "docker-compose.yml"


def test_compose_names_only_what_exists_and_takes_no_privileges() -> None:
    services = yaml.safe_load(COMPOSE.read_text())["services"]
    assert {p for s in services.values() for p in s["profiles"]} == {"sim", "real", "viz"}
    for name, service in services.items():
        assert not service.get("privileged", False)
        assert "healthcheck" in service, name
        assert service["environment"]["ROS_AUTOMATIC_DISCOVERY_RANGE"].endswith("LOCALHOST}")
        for mount in service.get("volumes", ()):
            source = mount.split(":")[0]
            assert not source.startswith("./") or (ROOT / source).exists(), mount
        for file in re.findall(r"(\w+\.launch\.py)", " ".join(map(str, service["command"]))):
            if "visual_irl_bringup" in service["command"]:
                assert (ROOT / "launch" / file).is_file()
                given = {a.split(":=")[0] for a in service["command"] if ":=" in a}
                assert given <= {a.name for a in read_launch_file(ROOT / "launch" / file).arguments}
    perception = services["perception"]["deploy"]["resources"]["reservations"]["devices"]
    assert perception[0]["driver"] == "nvidia"
    assert services["robot"]["network_mode"] == "host"
    assert "rtprio" in services["robot"]["ulimits"]
    assert any("127.0.0.1" in str(part) for part in services["foxglove"]["command"])


def test_compose_follows_its_schema() -> None:
    check = Path(sys.executable).with_name("check-jsonschema")
    done = subprocess.run([check, "--builtin-schema", "vendor.compose-spec", COMPOSE], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_dockerfile_copies_only_what_exists() -> None:
    text = (ROOT / "Dockerfile").read_text()
    copied = [word for line in text.splitlines() if line.startswith("COPY") for word in line.split()[1:-1] if word[0] != "-"]
    assert copied
    assert all((ROOT / word).exists() for word in copied)


def test_a_motion_is_offered_with_its_skill_and_for_where_the_base_stands(tmp_path: Path) -> None:
    robot, still = load_robot("ur5e"), np.zeros((3, 6))
    motion = JointTrajectory(robot.joint_names, np.arange(3.0), still + robot.home, still, np.zeros(3))
    moved = np.array(robot.T_world_base)
    moved[0, 3] += 0.1
    scene = {"robot": "ur5e", "objects": {}, "fixtures": {}, "held": [], "T_world_base": moved}
    for name, task in (("task", "onion_sorting"), ("bare", "")):
        save_trajectory(tmp_path / f"{name}.npz", motion, scene | {"task": task})
    bare = offered_motion.offer_of(robot, str(tmp_path / "bare.npz"), "", "")
    assert (bare.name, bare.digest, bare.motion.scene) == ("bare", "", Scene((), ()))
    # a motion without a task knows no table that its base could stand at
    assert offered_motion.checked(bare, robot.T_world_base) is bare
    with pytest.raises(InvalidInput, match=r"'bare' was made for a base at .* this one stands at .* mount_xyz and mount_rpy"):
        offered_motion.checked(bare, moved)
    with pytest.raises(InvalidInput, match="does a task: give the parameter skill, too"):
        offered_motion.offer_of(robot, str(tmp_path / "task.npz"), "", "")
    with pytest.raises(MissingFile, match="says which skill made"):
        offered_motion.offer_of(robot, str(tmp_path / "task.npz"), str(tmp_path), "")
    with pytest.raises(InvalidInput, match="mapped onto the ur5e, not the panda"):
        offered_motion.offer_of(load_robot("panda"), str(tmp_path / "bare.npz"), "", "")
    for trajectory, skill, demonstration in (("", "s", ""), ("t", "", "d"), ("", "", "d"), ("", "", "")):
        with pytest.raises(InvalidInput, match="give the parameter trajectory"):
            offered_motion.offer_of(robot, trajectory, skill, demonstration)


def test_a_base_stands_where_its_parameters_say() -> None:
    robot = load_robot("panda")
    np.testing.assert_array_equal(offered_motion.mount_of("", "", robot), robot.T_world_base)
    T = offered_motion.mount_of("0.1 -0.2 0.3", "0 0 1.5707963267948966", robot)
    np.testing.assert_allclose(T[:3, 3], [0.1, -0.2, 0.3])
    np.testing.assert_allclose(T[:3, :3] @ [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], atol=1e-12)
    turned = offered_motion.mount_of("0 0 0", "0.3 -0.4 0.5", robot)
    np.testing.assert_allclose(turned[:3, :3], Rotation.from_euler("xyz", [0.3, -0.4, 0.5]).as_matrix(), atol=1e-12)
    for xyz, rpy in (("1 2", ""), ("a b c", ""), ("0 0 nan", ""), ("", "0 0 0"), ("0 0 0", "1 2 3 4")):
        with pytest.raises(InvalidInput, match="expected three numbers"):
            offered_motion.mount_of(xyz, rpy, robot)
