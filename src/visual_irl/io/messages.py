"""ROS 2 camera messages (CDR) to pictures, intrinsics and transforms, and back.

The layouts are those of sensor_msgs and tf2_msgs, which did not change between ROS 2 releases. Compressed colour is
what `compressed_image_transport` publishes, compressed depth what `compressed_depth_image_transport` does: twelve bytes
(int32 format, float32 A, float32 B) before a 16-bit PNG.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, UInt8
from numpy import ndarray
from PIL import Image as PilImage
from rosbags.typesys import Stores, get_typestore

from visual_irl import se3
from visual_irl.errors import InvalidInput, UnreadableFile
from visual_irl.types import Intrinsics

IMAGE = "sensor_msgs/msg/Image"
COMPRESSED_IMAGE = "sensor_msgs/msg/CompressedImage"
CAMERA_INFO = "sensor_msgs/msg/CameraInfo"
TRANSFORMS = "tf2_msgs/msg/TFMessage"

TYPES = get_typestore(Stores.ROS2_JAZZY)
"""Message types by name; knows how to write their definitions and CDR."""

CHANNELS = {"rgb8": 3, "bgr8": 3, "8UC3": 3, "rgba8": 4, "bgra8": 4, "8UC4": 4, "mono8": 1, "8UC1": 1}
"""Colour encodings that can be read, and their channels."""

DEPTH_HEADER = struct.Struct("<iff")

JPEG_QUALITY = 88
"""Visually lossless for keypoints and colours, at a fifth of the size of a picture without loss."""


def decode(kind: str, data: bytes) -> Any:
    """The message of type `kind` in `data`.

    Raises:
        UnreadableFile: the bytes are not such a message.
    """
    try:
        return TYPES.deserialize_cdr(data, kind)
    except Exception as error:  # the generated readers raise whatever their bytes led to
        raise UnreadableFile(f"a message of {len(data)} bytes is not a {kind}: {error}") from error


def stamp_ns(header: Any) -> int:
    """The time of a message header [ns]."""
    return int(header.stamp.sec) * 1_000_000_000 + int(header.stamp.nanosec)


def _header(stamp: int, frame: str) -> Any:
    time = TYPES.types["builtin_interfaces/msg/Time"](sec=stamp // 1_000_000_000, nanosec=stamp % 1_000_000_000)
    return TYPES.types["std_msgs/msg/Header"](stamp=time, frame_id=frame)


def _message(kind: str, **fields: Any) -> bytes:
    return bytes(TYPES.serialize_cdr(TYPES.types[kind](**fields), kind))


def _image(stamp: int, frame: str, encoding: str, pixels: ndarray) -> bytes:
    rows = np.ascontiguousarray(pixels)
    height, width = rows.shape[:2]
    data = rows.reshape(-1).view(np.uint8)
    return _message(
        IMAGE, header=_header(stamp, frame), height=height, width=width, encoding=encoding, is_bigendian=0,
        step=data.size // height, data=data,
    )  # fmt: skip


def _compressed(stamp: int, frame: str, form: str, data: bytes) -> bytes:
    return _message(COMPRESSED_IMAGE, header=_header(stamp, frame), format=form, data=np.frombuffer(data, np.uint8))


def encode_colour(stamp: int, frame: str, rgb: UInt8[ndarray, "H W 3"], compress: bool) -> bytes:
    """An `Image` (rgb8) or a `CompressedImage` (JPEG)."""
    if not compress:
        return _image(stamp, frame, "rgb8", rgb)
    buffer = io.BytesIO()
    PilImage.fromarray(rgb).save(buffer, "JPEG", quality=JPEG_QUALITY)
    return _compressed(stamp, frame, "rgb8; jpeg compressed bgr8", buffer.getvalue())


def encode_depth(stamp: int, frame: str, depth: Float32[ndarray, "H W"], compress: bool) -> bytes:
    """An `Image` (16UC1, mm) or its compressedDepth `CompressedImage`; unknown and beyond 65.535 m become 0."""
    millimetres = np.rint(np.nan_to_num(depth, nan=0.0, posinf=0.0, neginf=0.0) * 1000.0)
    pixels = np.where((millimetres > 0) & (millimetres < 65536), millimetres, 0).astype(np.uint16)
    if not compress:
        return _image(stamp, frame, "16UC1", pixels)
    buffer = io.BytesIO()
    PilImage.fromarray(pixels).save(buffer, "PNG", compress_level=6)
    data = DEPTH_HEADER.pack(0, 0.0, 0.0) + buffer.getvalue()
    return _compressed(stamp, frame, "16UC1; compressedDepth png", data)


def encode_camera_info(stamp: int, frame: str, intrinsics: Intrinsics) -> bytes:
    """A `CameraInfo` of a pinhole camera without distortion."""
    roi = TYPES.types["sensor_msgs/msg/RegionOfInterest"](x_offset=0, y_offset=0, height=0, width=0, do_rectify=False)
    return _message(
        CAMERA_INFO, header=_header(stamp, frame), height=intrinsics.height, width=intrinsics.width,
        distortion_model="plumb_bob", d=np.zeros(5), k=intrinsics.K.ravel(), r=np.eye(3).ravel(),
        p=np.hstack([intrinsics.K, np.zeros((3, 1))]).ravel(), binning_x=0, binning_y=0, roi=roi,
    )  # fmt: skip


def encode_transforms(stamp: int, parent: str, children: Mapping[str, Float[ndarray, "4 4"]]) -> bytes:
    """A `TFMessage` with one transform from `parent` to each child; ROS quaternions are scalar last."""
    kinds = TYPES.types
    transforms = []
    for child, T_parent_child in children.items():
        w, x, y, z = (float(v) for v in se3.quaternion_wxyz(np.asarray(T_parent_child)[:3, :3]))
        translation = kinds["geometry_msgs/msg/Vector3"](*(float(v) for v in np.asarray(T_parent_child)[:3, 3]))
        rotation = kinds["geometry_msgs/msg/Quaternion"](x=x, y=y, z=z, w=w)
        pose = kinds["geometry_msgs/msg/Transform"](translation=translation, rotation=rotation)
        transforms.append(
            kinds["geometry_msgs/msg/TransformStamped"](header=_header(stamp, parent), child_frame_id=child, transform=pose)
        )
    return _message(TRANSFORMS, transforms=transforms)


def decode_transforms(data: bytes) -> dict[str, tuple[str, Float[ndarray, "4 4"]]]:
    """child -> (parent, T_parent_child) of a `TFMessage`, names without a leading slash."""
    found = {}
    for item in decode(TRANSFORMS, data).transforms:
        p, q = item.transform.translation, item.transform.rotation
        R = se3.rotation_of_quaternion(np.array([q.w, q.x, q.y, q.z]))
        T = se3.transform(R, np.array([p.x, p.y, p.z]))
        found[item.child_frame_id.lstrip("/")] = (item.header.frame_id.lstrip("/"), T)
    return found


def _rows(message: Any, pixel: np.dtype, channels: int) -> ndarray:
    """Pixels of a raw `Image` without the padding of its rows."""
    height, width, step = int(message.height), int(message.width), int(message.step)
    data = np.asarray(message.data, np.uint8)
    if data.size < height * step or step < width * channels * pixel.itemsize:
        raise UnreadableFile(
            f"an image says it is {width}x{height} '{message.encoding}' with {step} bytes a row, but holds {data.size} bytes"
        )
    rows = np.ascontiguousarray(data[: height * step].reshape(height, step)[:, : width * channels * pixel.itemsize])
    return rows.view(pixel).reshape(height, width, channels)


def decode_colour(kind: str, data: bytes) -> tuple[int, str, UInt8[ndarray, "H W 3"]]:
    """(stamp [ns], camera frame, rgb) of an `Image` or `CompressedImage`.

    Raises:
        InvalidInput: an encoding that is not a colour picture; lists the known ones.
        UnreadableFile: the content is broken.
    """
    message = decode(kind, data)
    if kind == IMAGE:
        if message.encoding not in CHANNELS:
            raise InvalidInput(f"colour encoding '{message.encoding}' is unknown; known: {', '.join(CHANNELS)}")
        pixels = _rows(message, np.dtype(np.uint8), CHANNELS[message.encoding])
        if pixels.shape[2] == 1:
            pixels = np.repeat(pixels, 3, axis=2)
        bgr = message.encoding.startswith(("bgr", "8UC"))  # 8UC3 is OpenCV's own order
    else:
        pixels = np.array(_open(message.data.tobytes(), message.format).convert("RGB"))
        bgr = "compressed rgb" in message.format  # the plug-in then stored the channels swapped
    rgb = np.ascontiguousarray(pixels[..., 2::-1] if bgr else pixels[..., :3])
    return stamp_ns(message.header), str(message.header.frame_id).lstrip("/"), rgb


def decode_depth(kind: str, data: bytes) -> tuple[int, Float32[ndarray, "H W"]]:
    """(stamp [ns], depth [m] with NaN where unknown) of a 16UC1 [mm] or 32FC1 [m] image, raw or compressedDepth.

    Raises:
        InvalidInput: another encoding or codec.
        UnreadableFile: the content is broken.
    """
    message = decode(kind, data)
    if kind == IMAGE:
        kinds = {"16UC1": "u2", "mono16": "u2", "32FC1": "f4"}
        if message.encoding not in kinds:
            raise InvalidInput(f"depth encoding '{message.encoding}' is unknown; known: {', '.join(kinds)}")
        order = ">" if message.is_bigendian else "<"
        pixels = _rows(message, np.dtype(order + kinds[message.encoding]), 1)[..., 0]
        depth = pixels.astype(np.float32)
        if kinds[message.encoding] == "u2":
            depth *= np.float32(1e-3)
    else:
        depth = _decode_compressed_depth(message)
    depth[~(np.isfinite(depth) & (depth > 0))] = np.nan
    return stamp_ns(message.header), depth


def _decode_compressed_depth(message: Any) -> Float32[ndarray, "H W"]:
    if "rvl" in message.format.lower():
        raise InvalidInput(
            "depth is compressed as RVL, which is not supported; record with the compressedDepth format 'png' or "
            "record the raw depth topic"
        )
    payload = message.data.tobytes()
    if len(payload) <= DEPTH_HEADER.size:
        raise UnreadableFile(f"a compressed depth image holds only {len(payload)} bytes")
    _, a, b = DEPTH_HEADER.unpack_from(payload)
    pixels = np.array(_open(payload[DEPTH_HEADER.size :], message.format)).astype(np.float32)
    if pixels.ndim != 2:
        raise UnreadableFile(f"a compressed depth image has shape {pixels.shape}, expected one channel")
    if message.format.startswith("32FC1"):  # inverse depth, quantised: pixel = A / depth + B, 0 unknown
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(pixels > 0, np.float32(a) / (pixels - np.float32(b)), np.float32(np.nan))
    return pixels * np.float32(1e-3)


def _open(data: bytes, form: str) -> PilImage.Image:
    try:
        picture = PilImage.open(io.BytesIO(data))
        picture.load()
    except (OSError, SyntaxError, ValueError) as error:
        raise UnreadableFile(f"a compressed image ('{form}', {len(data)} bytes) cannot be decoded: {error}") from error
    return picture


def decode_camera_info(data: bytes) -> tuple[Intrinsics, Float[ndarray, "D"] | None]:
    """Intrinsics, and the coefficients of the lens's distortion, for `lens.Straightener` (None: there is none).

    Raises:
        InvalidInput: no camera's numbers, or a distortion model that is not supported.
    """
    info = decode(CAMERA_INFO, data)
    fx, _, cx, _, fy, cy = (float(v) for v in info.k[:6])
    camera = Intrinsics(fx, fy, cx, cy, int(info.width), int(info.height))
    d = np.asarray(info.d, float)
    if not d.any():
        return camera, None
    if info.distortion_model not in ("plumb_bob", "rational_polynomial") or len(d) not in (4, 5, 8):
        raise InvalidInput(
            f"distortion model '{info.distortion_model}' with {len(d)} coefficients is not supported (plumb_bob and "
            "rational_polynomial are); record the rectified image topics"
        )
    if not np.isfinite(d).all():
        raise InvalidInput(f"the coefficients of the lens's distortion must be finite, got {d.tolist()}")
    return camera, d
