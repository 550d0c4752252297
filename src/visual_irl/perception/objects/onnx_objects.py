"""The user's own detector: boxes of an ONNX network run by onnxruntime, lifted into the world by depth.

The network has one input, (1, 3, H, W) of 32-bit RGB in [0, 1], into which the picture is fitted with its aspect ratio kept and
grey around it, and one output, (1, N, 6): per box left, top, right and bottom [px of that input], confidence, and the number of
its class. `yolo export format=onnx nms=True` makes such a file; networks without suppression put it out by themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32, UInt8
from numpy import ndarray
from PIL import Image

from visual_irl.bounds import require_within
from visual_irl.errors import InvalidInput, MissingDependency, MissingFile, UnreadableFile, pip_install
from visual_irl.perception.objects.cylinder_fit import fit_standing, straightness
from visual_irl.perception.objects.pieces import connected_pieces
from visual_irl.perception.objects.sphere_fit import fit_spheres
from visual_irl.types import ObjectEstimate, RgbdFrame

SHAPES = ("ball", "upright")
_GREY = 114  # around the picture, as YOLO networks are trained
_EXPORT = "export a detector with its suppression inside, as `yolo export format=onnx nms=True` does"


@dataclass(frozen=True)
class OnnxClass:
    """What a class of the network is: several of them may be of one label, told apart by an attribute."""

    label: str
    shape: str = "ball"
    """`ball`: a sphere is fitted to its depth; `upright`: an upright cylinder that stands on the table."""
    attribute: str = ""
    """Attribute that the class tells of, such as `blemished`; '' for none ..."""
    value: float = 0.0
    """... and its value."""

    def __post_init__(self) -> None:
        if self.shape not in SHAPES:
            raise InvalidInput(f"class '{self.label}' has shape '{self.shape}'; known: {', '.join(SHAPES)}")
        if not 0.0 <= self.value <= 1.0:
            raise InvalidInput(f"class '{self.label}': value {self.value} must lie in [0, 1]")


@dataclass(frozen=True)
class OnnxDetectorConfig:
    """Which network, and what its classes are."""

    file: str = ""
    """Path of the .onnx file."""
    classes: tuple[OnnxClass, ...] = ()
    """The network's classes in their order."""
    confidence: float = 0.4
    """Boxes below it are left out."""
    above_table: float = 0.006
    """Depth that is lower [m, world] belongs to the table."""
    depth_jump: float = 0.015
    """A step between neighbouring pixels that separates two things [m]."""
    depth_sigma: float = 0.003
    """Depth noise at arm's length [m]."""
    least_pixels: int = 30
    """Fewer pixels with depth tell no place."""

    def __post_init__(self) -> None:
        length = (1e-4, 0.5)
        require_within(
            self, 0.0, 1.0, above_table=(-10.0, 10.0), depth_jump=length, depth_sigma=length, least_pixels=(1, 1_000_000)
        )

    def build(self) -> OnnxDetector:
        """The detector.

        Raises:
            MissingDependency: onnxruntime is not installed.
            MissingFile, UnreadableFile: there is no network.
            InvalidInput: no classes are named, or the network is not of the layout above.
        """
        return OnnxDetector(self)


class OnnxDetector:
    """Boxes from the network, places and sizes from the depth inside of them."""

    def __init__(self, config: OnnxDetectorConfig) -> None:
        try:
            import onnxruntime
        except ModuleNotFoundError as error:
            raise MissingDependency(f"the onnx detector needs onnxruntime: {pip_install('onnx')}") from error
        path = Path(config.file)
        if not config.file or not path.is_file():
            raise MissingFile(
                f"no network at '{config.file}'; name it in the configuration: `objects: {{onnx: {{file: ...}}}}`"
            )
        if not config.classes:
            raise InvalidInput(f"'{path}': the configuration names no classes; list the network's in their order")
        try:
            self._session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime has its own exceptions, one for each way to be no network
            raise UnreadableFile(
                f"'{path}' is no network that onnxruntime {onnxruntime.__version__} can run: {error}"
            ) from error
        self.config = config
        self._input, self._size = _checked(self._session, path)

    def detect(self, frame: RgbdFrame) -> tuple[ObjectEstimate, ...]:
        """The objects of a frame, the surest first; boxes without enough depth, or not of their shape, are left out.

        Raises:
            InvalidInput: the frame has no depth or no world pose, or the network tells of a class that has no name.
        """
        if frame.depth is None or frame.T_world_camera is None:
            missing = "depth" if frame.depth is None else "pose in the world (a static transform 'world' -> camera)"
            raise InvalidInput(f"objects need a calibrated RGB-D frame; this one has no {missing}")
        found = []
        for *box, confidence, number in self.boxes(frame.rgb):
            if not 0 <= int(number) < len(self.config.classes):
                raise InvalidInput(
                    f"'{self.config.file}' tells of class {int(number)}, the configuration names {len(self.config.classes)}: "
                    "list all of the network's classes in their order"
                )
            estimate = self._lifted(frame, np.array(box), float(confidence), self.config.classes[int(number)])
            if estimate is not None:
                found.append(estimate)
        return tuple(found)

    def boxes(self, rgb: UInt8[ndarray, "H W 3"]) -> Float[ndarray, "B 6"]:
        """Left, top, right, bottom [px of the picture], confidence and class of boxes that are sure enough, surest first."""
        picture, scale, left, top = letterbox(rgb, *self._size)
        (rows,) = self._session.run(None, {self._input: picture})
        if rows.ndim != 3 or rows.shape[0] != 1 or rows.shape[2] != 6:
            raise InvalidInput(f"'{self.config.file}' puts out {rows.shape}, expected (1, N, 6): {_EXPORT}")
        boxes = np.asarray(rows[0], float)
        boxes = boxes[boxes[:, 4] >= self.config.confidence]  # NaN is not sure
        boxes = boxes[np.argsort(-boxes[:, 4], kind="stable")]
        boxes[:, :4] = (boxes[:, :4] - [left, top, left, top]) / scale
        return boxes

    def _lifted(self, frame: RgbdFrame, box: ndarray, confidence: float, kind: OnnxClass) -> ObjectEstimate | None:
        """The thing in a box: the largest piece of depth there that stands out of the table."""
        c, k = self.config, frame.intrinsics
        assert frame.depth is not None and frame.T_world_camera is not None
        left, top = np.maximum(np.floor(box[:2]), 0).astype(int)
        right, bottom = np.minimum(np.ceil(box[2:]), (k.width, k.height)).astype(int)
        if right - left < 3 or bottom - top < 3:
            return None
        rows, columns = (x.ravel() for x in np.mgrid[top:bottom, left:right])
        z = frame.depth[rows, columns].astype(float)
        T = frame.T_world_camera
        p_world = k.back_project(np.stack([columns, rows], 1).astype(float), z) @ T[:3, :3].T + T[:3, 3]
        raised = p_world[:, 2] > c.above_table  # NaN is not
        pieces = connected_pieces(frame.depth, rows[raised], columns[raised], c.depth_jump, c.least_pixels)
        if not pieces:
            return None
        points = p_world[raised][max(pieces, key=len)]
        eye = T[:3, 3]
        wide = 0.5 * (right - left) * float(np.linalg.norm(np.median(points, axis=0) - eye)) / k.fx
        attributes = {kind.attribute: kind.value} if kind.attribute else {}
        if kind.shape == "ball":
            (ball,) = fit_spheres(points, eye, 1, wide, 0.15 * wide, c.depth_sigma)
            if ball.inliers.mean() < 0.5:
                return None
            return ObjectEstimate("", kind.label, ball.centre, float(ball.radius), confidence, attributes)
        cylinder = fit_standing(points, eye, c.depth_sigma, 0.15 * wide)
        if not straightness(cylinder, points, eye, 2.5 * c.depth_sigma) > 0.75:
            return None
        return ObjectEstimate(
            "", kind.label, cylinder.centre, cylinder.radius, confidence, attributes, cylinder.height, cylinder.axis
        )


def letterbox(rgb: UInt8[ndarray, "H W 3"], width: int, height: int) -> tuple[Float32[ndarray, "1 3 h w"], float, int, int]:
    """A network's input, and how the picture lies in it: scale, left and top [px]."""
    scale = min(width / rgb.shape[1], height / rgb.shape[0])
    size = (max(round(rgb.shape[1] * scale), 1), max(round(rgb.shape[0] * scale), 1))
    left, top = (width - size[0]) // 2, (height - size[1]) // 2
    canvas = np.full((height, width, 3), _GREY, np.uint8)
    canvas[top : top + size[1], left : left + size[0]] = np.asarray(
        Image.fromarray(rgb).resize(size, Image.Resampling.BILINEAR)
    )
    return np.ascontiguousarray(canvas.transpose(2, 0, 1)[None], np.float32) / np.float32(255.0), scale, left, top


def _checked(session: object, path: Path) -> tuple[str, tuple[int, int]]:
    """Name of the input, and its width and height [px]."""
    inputs, outputs = session.get_inputs(), session.get_outputs()  # type: ignore[attr-defined]
    if len(inputs) != 1 or len(outputs) != 1:
        raise InvalidInput(f"'{path}' has {len(inputs)} inputs and {len(outputs)} outputs, expected one of each: {_EXPORT}")
    (picture,), (boxes,) = inputs, outputs
    shape = picture.shape
    if picture.type != "tensor(float)" or len(shape) != 4 or shape[1] != 3 or not all(isinstance(n, int) for n in shape[2:]):
        raise InvalidInput(f"'{path}' takes {picture.type} {shape}, expected 32-bit (1, 3, H, W) of a fixed size: {_EXPORT}")
    if len(boxes.shape) != 3 or (boxes.shape[2] not in (6, None) and not isinstance(boxes.shape[2], str)):
        raise InvalidInput(f"'{path}' puts out {boxes.shape}, expected (1, N, 6): {_EXPORT}")
    return picture.name, (int(shape[3]), int(shape[2]))
