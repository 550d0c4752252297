"""The PyTorch back end beside MediaPipe, with the real weights: same pictures, same landmarks."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from visual_irl.assets import asset_path
from visual_irl.errors import InvalidInput, MissingDependency, MissingFile, UnreadableFile
from visual_irl.perception.cameras.sources import open_frames
from visual_irl.perception.landmarks.detection import POSE_INDEX, PersonDetection
from visual_irl.perception.landmarks.landmark_filter import OneEuro
from visual_irl.perception.landmarks.mediapipe_detector import MediapipeNetworks
from visual_irl.perception.landmarks.person_finder import PersonFinder
from visual_irl.perception.landmarks.region import Region, body_around, hand_around, overlap
from visual_irl.perception.landmarks.ssd import anchors, found_boxes
from visual_irl.perception.landmarks.tflite import read_network
from visual_irl.perception.landmarks.torch_detector import TorchDetectorConfig, TorchNetworks, detect_together
from visual_irl.perception.landmarks.torch_tracking import Picture, cut
from visual_irl.perception.landmarks.weights import component_path
from visual_irl.types import RgbdFrame

RECORDING = asset_path("models/recordings/onion_sorting")
CLIPS = Path(__file__).resolve().parents[3] / "shared" / "data" / "video"
CONFIG = TorchDetectorConfig(pose_model="full", device="cpu")


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # small convolutions are slower on more
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def frames() -> list[RgbdFrame]:
    with open_frames(RECORDING) as source:
        return list(islice(source, 6))


def networks() -> TorchNetworks:
    made = CONFIG.build().networks
    assert isinstance(made, TorchNetworks)
    return made


def misses(one: PersonDetection, other: PersonDetection) -> np.ndarray:
    seen = np.minimum(one.visibility, other.visibility) >= 0.5
    return np.linalg.norm(one.uv - other.uv, axis=1)[seen]


def test_first_picture_gives_the_same_landmarks_to_a_hundredth_of_a_pixel(frames: list[RgbdFrame]) -> None:
    theirs, ours = MediapipeNetworks("full", 0.5), networks()
    for stream in (theirs, ours):
        stream.begin(frames[3].rgb, 1000)
    bodies = theirs.body(), ours.body()
    assert bodies[0] is not None and bodies[1] is not None
    # nothing is followed yet: regions come from the detectors, so that these, anchors and suppression agree as well
    assert np.linalg.norm(bodies[0].uv - bodies[1].uv, axis=1).max() < 0.05
    assert np.abs(bodies[0].shape - bodies[1].shape).max() < 1e-3
    assert np.abs(bodies[0].visibility - bodies[1].visibility).max() < 1e-3
    hands = theirs.hands(), ours.hands()
    assert len(hands[0]) == len(hands[1]) > 0
    for one, other in zip(*hands, strict=True):
        assert np.linalg.norm(one.uv - other.uv, axis=1).max() < 0.05
        assert np.abs(one.shape - other.shape).max() < 1e-3
        assert one.label == other.label and abs(one.score - other.score) < 1e-3
    theirs.close()


def test_a_followed_stream_stays_with_mediapipe(frames: list[RgbdFrame]) -> None:
    theirs, ours = MediapipeNetworks("full", 0.5), networks()
    body, hand = [], []
    for frame in frames:
        for stream in (theirs, ours):
            stream.begin(frame.rgb, frame.stamp_ns // 1_000_000 + 1)
        one, other = theirs.body(), ours.body()
        assert one is not None and other is not None
        body.append(misses(one, other))
        found = theirs.hands(), ours.hands()
        assert len(found[0]) == len(found[1])
        hand += [np.linalg.norm(a.uv - b.uv, axis=1) for a, b in zip(*found, strict=True)]
    for apart in (np.concatenate(body), np.concatenate(hand)):
        assert np.median(apart) < 1.0 and (apart < 3.0).mean() >= 0.99
    theirs.close()


@pytest.mark.skipif(not CLIPS.is_dir(), reason=f"real clips are not at '{CLIPS}'")
@pytest.mark.parametrize("clip", ["ms_lfo_wipe.webm", "pose2sim_batch_t1_cam01.mp4", "human_hand.mp4"])
def test_real_pictures_one_by_one_give_the_same_landmarks(clip: str) -> None:
    body, hand = [], []
    with open_frames(CLIPS / clip) as source:
        for frame in islice(source, 0, 60, 40):
            theirs, ours = MediapipeNetworks("full", 0.5), networks()
            for stream in (theirs, ours):
                stream.begin(frame.rgb, 1000)
            one, other = theirs.body(), ours.body()
            assert (one is None) == (other is None)
            if one is not None and other is not None:
                body.append(misses(one, other))
            found = theirs.hands(), ours.hands()
            assert len(found[0]) == len(found[1])
            hand += [np.linalg.norm(a.uv - b.uv, axis=1) for a, b in zip(*found, strict=True)]
            theirs.close()
    apart = np.concatenate(body + hand)
    assert np.median(apart) < 1.0 and (apart < 3.0).mean() >= 0.99


def test_streams_in_one_batch_see_what_each_would_see_alone(frames: list[RgbdFrame]) -> None:
    alone, together = [CONFIG.build() for _ in range(2)], CONFIG.build_many(2)
    for first, second in zip(frames[:2], frames[2:4], strict=True):
        rgb, stamps = [first.rgb, second.rgb[:, 40:]], [first.stamp_ns, second.stamp_ns]  # another size, too
        batch = detect_together(together, rgb, stamps)
        for finder, picture, stamp, person in zip(alone, rgb, stamps, batch, strict=True):
            one = finder.detect(picture, stamp)
            assert one is not None and person is not None
            assert np.allclose(one.uv, person.uv, atol=0.5)  # batched convolutions add in another order
            assert one.hands.keys() == person.hands.keys()


def test_the_finder_gives_a_person_with_hands(frames: list[RgbdFrame]) -> None:
    finder = CONFIG.build()
    assert isinstance(finder, PersonFinder)
    person = finder.detect(frames[3].rgb, frames[3].stamp_ns)
    assert person is not None and person.hands
    for side, hand in person.hands.items():
        assert np.linalg.norm(hand.uv[0] - person.uv[POSE_INDEX[f"{side}_wrist"]]) < 40.0
    assert finder.detect(np.zeros_like(frames[0].rgb), frames[4].stamp_ns) is None


def test_regions_are_cut_as_opencv_cuts_them() -> None:
    import cv2

    rgb = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    picture = Picture.upload(rgb, torch.device("cpu"))
    square = Region(30.0, 25.0, 32.0)
    assert np.array_equal(cut([picture], [[square]], 32)[0].permute(1, 2, 0).numpy(), rgb[9:41, 14:46])
    turned = Region(44.0, 31.0, 40.0, 0.5)
    seen = cut([picture], [[square, turned]], 64)[1].permute(1, 2, 0).numpy()
    wanted = cv2.warpAffine(rgb, turned.to_crop(64), (64, 64), flags=cv2.INTER_LINEAR).astype(float)
    assert np.abs(seen - wanted).mean() < 2.0  # this OpenCV rounds places otherwise: noise differs by up to 8 levels
    beyond = cut([picture], [[Region(40.0, -20.0, 40.0), Region(40.0, -20.0, 40.0, extended=True)]], 8).numpy()
    assert not beyond[0].any()  # the square around the picture is black
    assert np.array_equal(beyond[1][:, 0, :], beyond[1][:, -1, :]) and beyond[1].any()  # its top row goes on


def test_anchors_and_merged_boxes() -> None:
    places = anchors(224, (8, 16, 32, 32, 32))
    assert len(places) == 2254 and np.allclose(places[0], 4 / 224) and np.allclose(places[-1], 1 - 16 / 224)
    assert len(anchors(192, (8, 16, 16, 16))) == 2016
    raw, odds = np.zeros((2254, 8)), np.full(2254, -9.0)
    raw[:, 2:4] = 40.0
    odds[[100, 101, 2000]] = 2.0, 1.0, 3.0  # two anchors of one cell, and one elsewhere
    raw[101, 4] = 22.4
    best, second = found_boxes(raw, odds, places, 224, 0.5)
    assert np.allclose(best.box[:2] + best.box[2:] / 2, places[2000]) and best.score > second.score
    share = 1 / (1 + np.exp(-1.0))
    share /= share + 1 / (1 + np.exp(-2.0))
    assert np.isclose(second.points[0, 0] - second.points[1, 0], share * 0.1)  # averaged by scores
    assert found_boxes(raw, odds, places, 224, 0.99) == []


def test_regions_follow_landmarks() -> None:
    body = body_around(np.array([100.0, 200.0]), np.array([160.0, 200.0]))  # its top is to the right
    assert (body.x, body.y, body.side) == (100.0, 200.0, 150.0) and np.isclose(body.turn, np.pi / 2)
    rng = np.random.default_rng(1)
    uv = rng.uniform(0, 50, (21, 2)) + [10, 10]
    uv[0], uv[[5, 9, 13]] = [35.0, 80.0], [[25.0, 20.0], [35.0, 18.0], [45.0, 20.0]]
    c, s = np.cos(0.7), np.sin(0.7)
    upright, turned = hand_around(uv), hand_around(uv @ np.array([[c, s], [-s, c]]))
    assert np.isclose(turned.turn - upright.turn, 0.7) and np.isclose(turned.side, upright.side)
    assert np.isclose(overlap(body, body), 1.0) and overlap(body, Region(1e3, 1e3, 10.0)) == 0.0


def test_one_euro_filter_rests_and_follows() -> None:
    still = OneEuro(0.05, 80.0)
    noise = np.random.default_rng(0).normal(0, 1e-4, (200, 1, 2))
    out = np.array([still.step(x, 33 * (i + 1), 1.0) for i, x in enumerate(noise)])
    assert out[100:].std() < 0.3 * noise.std()
    moving = OneEuro(0.05, 80.0)
    path = np.array([moving.step(np.full((1, 2), 0.02 * i), 33 * (i + 1), 1.0)[0, 0] for i in range(60)])
    assert abs(path[-1] - 0.02 * 59) < 0.002  # at speed it lags by less than a tenth of a step


def test_what_cannot_be_read_or_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingFile, match="models pull"):
        read_network(tmp_path / "none.tflite")
    whole = component_path("hand_landmark_full").read_bytes()
    for content in (b"", b"no network at all", whole[: len(whole) // 2]):
        broken = tmp_path / "broken.tflite"
        broken.write_bytes(content)
        with pytest.raises(UnreadableFile, match="no network"):
            read_network(broken)
    with pytest.raises(InvalidInput, match="known: auto, cpu, cuda"):
        TorchDetectorConfig(device="tpu").build()
    if not torch.cuda.is_available():
        with pytest.raises(MissingDependency, match="CUDA"):
            TorchDetectorConfig(device="cuda").build()
