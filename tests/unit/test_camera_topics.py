"""A driver's messages, sound and broken, become frames or are counted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from visual_irl.io import messages
from visual_irl.perception.cameras.camera_topics import CameraTopics

KINDS = messages.TYPES.types
W, H = 8, 6
K = (60.0, 0.0, 3.5, 0.0, 60.0, 2.5, 0.0, 0.0, 1.0)


def made(kind: str, **fields: Any) -> bytes:
    header = KINDS["std_msgs/msg/Header"](KINDS["builtin_interfaces/msg/Time"](1, 0), "camera")
    return bytes(messages.TYPES.serialize_cdr(KINDS[kind](header=header, **fields), kind))


def image(encoding: str, pixels: Any, **changed: Any) -> bytes:
    data = np.ascontiguousarray(pixels).reshape(-1).view(np.uint8)
    sizes = {"height": H, "width": W, "step": data.size // H, "is_bigendian": 0, **changed}
    return made(messages.IMAGE, encoding=encoding, data=data, **sizes)


def info(k: Any = K, d: Any = (), **changed: Any) -> bytes:
    roi = KINDS["sensor_msgs/msg/RegionOfInterest"](x_offset=0, y_offset=0, height=0, width=0, do_rectify=False)
    fields = {"height": H, "width": W, "distortion_model": "plumb_bob", "binning_x": 0, "binning_y": 0, **changed}
    return made(
        messages.CAMERA_INFO, d=np.array(d, float), k=np.array(k), r=np.eye(3).ravel(), p=np.zeros(12), roi=roi, **fields
    )


def colour(**changed: Any) -> bytes:
    return image("rgb8", np.zeros((H, W, 3), np.uint8), **changed)


def depth(**changed: Any) -> bytes:
    return image("16UC1", np.full((H, W), 1000, "<u2"), **changed)


MOST = 2**32 - 1
BROKEN = {
    "focal length": {"info": info((0.0,) * 9)},
    "no numbers": {"info": info((np.nan,) * 9)},
    "principal point": {"info": info((60.0, 0.0, np.inf, *K[3:]))},
    "distorted, as large as it goes": {"info": info(d=[0.1] * 5, height=MOST, width=MOST)},  # no map of its pixels is made
    "distortion": {"info": info(d=[np.nan] * 5)},
    "colour's encoding": {"colour": image("bayer_rggb8", np.zeros((H, W), np.uint8))},
    "depth's encoding": {"depth": image("rgb8", np.zeros((H, W, 3), np.uint8))},
    "rows": {"colour": colour(step=0)},
    "long rows": {"colour": colour(step=MOST)},
    "colour's size": {"colour": colour(height=MOST, width=MOST)},
    "nothing": {"colour": b""},
    "cut off": {"depth": depth()[:-7]},
}


@pytest.mark.parametrize("what", BROKEN)
def test_what_is_broken_is_counted_and_the_next_sound_pair_is_a_frame(what: str) -> None:
    topics, sound = CameraTopics(), {"info": info(), "depth": depth(), "colour": colour()}

    def told(parts: dict[str, bytes]) -> Any:
        topics.info(parts["info"])
        return topics.depth(parts["depth"]) or topics.colour(parts["colour"])  # whichever comes last

    assert told({**sound, **BROKEN[what]}) is None
    assert topics.refused.total() >= 1
    assert told(sound).rgb.shape == (H, W, 3)


def test_depth_without_a_number_is_a_frame_of_unknown_depth() -> None:
    topics = CameraTopics()
    topics.info(info())
    topics.depth(image("32FC1", np.resize(np.array([np.nan, -1.0, 0.0, np.inf], "<f4"), (H, W))))
    assert np.isnan(topics.colour(colour()).depth).all()


@pytest.mark.parametrize("model", ["plumb_bob", "rational_polynomial"])
def test_a_distorted_lens_is_straightened(model: str) -> None:
    """What a barrel lens draws nearer to the middle comes back to where a pinhole camera has it; depth, if drawn so."""
    width, height, f = 160, 120, 100.0
    sizes = {"width": width, "height": height}
    k = (f, 0.0, 80.0, 0.0, f, 60.0, 0.0, 0.0, 1.0)
    k1, k4, at = (-0.1, 0.0, 130) if model == "plumb_bob" else (0.0, 0.1, 130)
    drawn = round(80 + f * 0.5 * (1 + k1 * 0.25) / (1 + k4 * 0.25))
    assert drawn != at
    rgb, metres = np.zeros((height, width, 3), np.uint8), np.full((height, width), 1000, "<u2")
    rgb[60, drawn], metres[60, drawn] = 200, 500
    d = [k1, 0.0, 0.0, 0.0, 0.0] + ([k4, 0.0, 0.0] if model == "rational_polynomial" else [])
    topics = CameraTopics()
    for _ in range(2):  # as from a driver: with every picture
        topics.info(info(k, d, distortion_model=model, **sizes))
        topics.depth(image("16UC1", metres, step=2 * width, **sizes))
        frame = topics.colour(image("rgb8", rgb, step=3 * width, **sizes))
    assert not topics.refused
    assert abs(int(np.argmax(frame.rgb[60, :, 0])) - at) <= 1 and frame.rgb[60, drawn, 0] == 0
    nearest = int(np.nanargmin(frame.depth[60]))
    assert nearest == drawn if model == "plumb_bob" else abs(nearest - at) <= 1
    topics.info(info())
    topics.depth(depth())
    assert topics.colour(colour()).rgb.shape == (H, W, 3), "another camera takes its place"


def test_pictures_of_another_size_than_a_distorted_camera_are_counted() -> None:
    topics = CameraTopics()
    topics.info(info(d=[-0.1, 0.0, 0.0, 0.0, 0.0], width=2 * W))
    topics.depth(depth())
    assert topics.colour(colour()) is None and topics.refused.total() == 1
    assert "8x6 px, its camera 16x6" in next(iter(topics.refused))
