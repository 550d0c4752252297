"""The user's own detector: a real network, as small as can be, run by the real runtime; its boxes lifted by depth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from visual_irl import se3
from visual_irl.errors import InvalidInput, MissingFile, UnknownName, UnreadableFile
from visual_irl.perception.objects.detectors import ObjectsConfig
from visual_irl.perception.objects.onnx_objects import OnnxClass, OnnxDetector, OnnxDetectorConfig, letterbox
from visual_irl.types import Intrinsics, RgbdFrame

SIDE = 160
CAMERA = Intrinsics.from_fov(320, 240, float(np.radians(60.0)))
EYE = np.array([0.8, 0.0, 0.5])
T_WORLD_CAMERA = se3.look_at(EYE, np.array([0.2, 0.0, 0.05]))
CLASSES = (OnnxClass("onion", attribute="blemished", value=0.0), OnnxClass("onion", attribute="blemished", value=1.0))


def network(path: Path, side: int | str = SIDE, columns: int = 6, extra: bool = False, classes: int = 1) -> Path:
    """A network that finds the one red thing: its box from where red is high, its confidence 0.9, its class from its blue."""
    nodes, constants = [], []

    def constant(name: str, value: np.ndarray) -> str:
        constants.append(numpy_helper.from_array(value, name))
        return name

    def add(kind: str, inputs: list[str], out: str, **options: object) -> str:
        nodes.append(helper.make_node(kind, inputs, [out], **options))
        return out

    ramp = np.arange(SIDE, dtype=np.float32)
    red = add(
        "Slice", ["images", constant("r0", np.array([0])), constant("r1", np.array([1])), constant("ch", np.array([1]))], "red"
    )
    blue = add("Slice", ["images", constant("b0", np.array([2])), constant("b1", np.array([3])), "ch"], "blue")
    thing = add("Cast", [add("Greater", [red, constant("half", np.float32([0.6]))], "is")], "thing", to=TensorProto.FLOAT)
    numbers = []
    for name, axis in (("x", 2), ("y", 3)):
        seen = add("ReduceMax", [thing, constant(f"a{name}", np.array([axis]))], f"seen{name}", keepdims=0)
        here = constant(f"ramp{name}", ramp[None, None])
        far = add("Add", [add("Mul", [seen, here], f"m{name}"), constant(f"one{name}", np.float32([1.0]))], f"f{name}")
        miss = add("Mul", [add("Sub", [f"one{name}", seen], f"n{name}"), constant(f"big{name}", np.float32([1e3]))], f"g{name}")
        near = add("Add", [here, miss], f"h{name}")
        numbers += [
            add("ReduceMin", [near, constant(f"l{name}", np.array([1, 2]))], f"low{name}", keepdims=1),
            add("ReduceMax", [far, f"l{name}"], f"high{name}", keepdims=1),
        ]
    mean = add("ReduceMean", [add("Mul", [blue, thing], "bt"), constant("all", np.array([1, 2, 3]))], "mean", keepdims=0)
    kind = add("Cast", [add("Greater", [mean, constant("some", np.float32([0.001]))], "k")], "kind", to=TensorProto.FLOAT)
    number = add(
        "Reshape", [add("Mul", [kind, constant("n", np.float32([classes]))], "kn"), constant("s", np.array([1, 1, 1]))], "num"
    )
    sure = constant("sure", np.full((1, 1, 1), 0.9, np.float32))
    row = [numbers[0], numbers[2], numbers[1], numbers[3], sure, number][:columns]
    add("Concat", row, "boxes", axis=2)
    outputs = [helper.make_tensor_value_info("boxes", TensorProto.FLOAT, [1, 1, columns])]
    if extra:
        outputs.append(helper.make_tensor_value_info("mean", TensorProto.FLOAT, None))
    picture = helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, side, side])
    graph = helper.make_graph(nodes, "red", [picture], outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, path)
    return path


def picture(centre: np.ndarray, radius: float, blue: int = 20) -> RgbdFrame:
    """A red ball on a grey table."""
    v, u = np.mgrid[: CAMERA.height, : CAMERA.width].astype(float)
    rays = CAMERA.back_project(np.stack([u, v], -1), np.ones_like(u)) @ T_WORLD_CAMERA[:3, :3].T
    z = np.where(rays[..., 2] < 0, -EYE[2] / np.minimum(rays[..., 2], -1e-6), 3.0)
    rgb = np.full((CAMERA.height, CAMERA.width, 3), 120, np.uint8)
    d = EYE - centre
    a, b, c = (rays**2).sum(-1), rays @ d, d @ d - radius**2
    hit = np.where(b * b > a * c, (-b - np.sqrt(np.maximum(b * b - a * c, 0))) / a, np.inf)
    rgb[hit < z] = (220, 20, blue)
    depth = (np.minimum(z, hit) + np.random.default_rng(0).normal(0, 0.001, z.shape)).astype(np.float32)
    return RgbdFrame(0, rgb, depth, CAMERA, T_WORLD_CAMERA)


def detector(path: Path, classes: tuple[OnnxClass, ...] = CLASSES) -> OnnxDetector:
    return OnnxDetectorConfig(file=str(path), classes=classes).build()


@pytest.mark.parametrize(("y", "blue"), [(-0.1, 20), (0.12, 90)])
def test_a_ball_is_found_where_it_is_with_its_class(tmp_path: Path, y: float, blue: int) -> None:
    centre = np.array([0.25, y, 0.035])
    (found,) = detector(network(tmp_path / "red.onnx")).detect(picture(centre, 0.035, blue))
    assert found.label == "onion" and found.attributes == {"blemished": float(blue > 50)}
    assert np.linalg.norm(found.p_world - centre) < 0.004 and found.radius == pytest.approx(0.035, abs=0.003)
    assert found.confidence == pytest.approx(0.9)


def test_boxes_are_in_the_pictures_pixels(tmp_path: Path) -> None:
    frame = picture(np.array([0.25, 0.05, 0.035]), 0.035)
    red = frame.rgb[..., 0] > 200
    rows, columns = np.nonzero(red)
    ((left, top, right, bottom, _, _),) = detector(network(tmp_path / "red.onnx")).boxes(frame.rgb)
    expected = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    assert np.abs(np.array([left, top, right, bottom]) - expected).max() <= 2.5  # the input is half as large


def test_a_ball_is_no_upright_thing_and_unsure_boxes_are_left_out(tmp_path: Path) -> None:
    path, frame = network(tmp_path / "red.onnx"), picture(np.array([0.25, 0.0, 0.035]), 0.035)
    assert detector(path, (OnnxClass("cup", "upright"),)).detect(frame) == ()
    sure = OnnxDetectorConfig(file=str(path), classes=CLASSES, confidence=0.95).build()
    assert sure.detect(frame) == ()


def test_it_is_a_detector_like_the_others(tmp_path: Path) -> None:
    config = ObjectsConfig(detector="onnx", onnx=OnnxDetectorConfig(str(network(tmp_path / "red.onnx")), CLASSES))
    assert isinstance(config.build("onion_sorting"), OnnxDetector) and isinstance(config.build("any"), OnnxDetector)
    with pytest.raises(UnknownName, match="onnx"):
        ObjectsConfig(detector="yolo").build("pouring")


def test_what_is_no_such_network_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingFile, match=r"objects: \{onnx: \{file"):
        detector(tmp_path / "nothing.onnx")
    (tmp_path / "text.onnx").write_text("no network")
    with pytest.raises(UnreadableFile, match="no network that onnxruntime"):
        detector(tmp_path / "text.onnx")
    with pytest.raises(InvalidInput, match="names no classes"):
        detector(network(tmp_path / "red.onnx"), ())
    with pytest.raises(InvalidInput, match=r"expected \(1, N, 6\)"):
        detector(network(tmp_path / "five.onnx", columns=5))
    with pytest.raises(InvalidInput, match="2 outputs"):
        detector(network(tmp_path / "two.onnx", extra=True))
    with pytest.raises(InvalidInput, match="fixed size"):
        detector(network(tmp_path / "any.onnx", side="n"))
    with pytest.raises(InvalidInput, match="class 5, the configuration names 2"):
        detector(network(tmp_path / "many.onnx", classes=5)).detect(picture(np.array([0.25, 0.0, 0.035]), 0.035, 90))
    with pytest.raises(InvalidInput, match="known: ball, upright"):
        OnnxClass("cup", "cone")


def test_letterbox_keeps_the_aspect_ratio() -> None:
    made, scale, left, top = letterbox(np.full((100, 200, 3), 255, np.uint8), 160, 160)
    assert made.shape == (1, 3, 160, 160) and (scale, left, top) == (0.8, 0, 40)
    assert made[0, :, 45:115].min() == 1.0 and np.allclose(made[0, :, :40], 114 / 255)
