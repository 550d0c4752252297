"""Pouring is learned from what the camera sees: film, extract, and the skill is nearly the one that the truth teaches."""

from __future__ import annotations

import numpy as np
import pytest

from visual_irl import se3
from visual_irl.io.recording_writer import RecordingWriter
from visual_irl.perception.cameras.synthetic_camera import SyntheticCamera
from visual_irl.perception.extraction import ExtractionConfig, extract_demonstration
from visual_irl.pipeline import LearnConfig, learn
from visual_irl.policy.hand_path import PolicyConfig
from visual_irl.skills.pouring import PouringSkill
from visual_irl.tasks.pour_episode import cut_pouring
from visual_irl.tasks.pouring import BOTTLE, CUP, ZONE
from visual_irl.types import Demonstration

pytestmark = pytest.mark.long

CAMERA = SyntheticCamera(task="pouring", seed=7, body_seed=3, rate=5.0, lighting="dim")


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Demonstration:
    """What is extracted from the recording."""
    folder = tmp_path_factory.mktemp("pour") / "recording"
    with RecordingWriter(folder, CAMERA.fixtures) as writer:
        for frame in CAMERA:
            writer.write(frame)
    return extract_demonstration([folder], ExtractionConfig(task="pouring"), 0, lambda done, total: None)[0]


def test_bottle_and_cup_are_where_they_are_and_held_when_they_are(seen: Demonstration) -> None:
    truth = CAMERA.truth
    assert set(seen.objects) == {BOTTLE, CUP} and ZONE in seen.fixtures
    for name, degrees in ((BOTTLE, 4.0), (CUP, 1.0)):
        error = np.linalg.norm(seen.objects[name] - truth.objects[name], axis=1)
        lean = np.degrees(se3.angle_between(seen.turns[name][:, :, 2], truth.turns[name][:, :, 2]))
        assert error.mean() < 0.008 and np.percentile(lean, 95) < degrees  # 2 mm and 1 degree; more while the hand closes
        assert abs(seen.heights[name] - truth.heights[name]) < 0.005 and abs(seen.radii[name] - truth.radii[name]) < 0.005
    assert np.mean(np.array(seen.held) == np.array(truth.held)) > 0.9
    mine, true = cut_pouring(seen), cut_pouring(truth)
    assert (mine.vessel, mine.receiver, mine.zone) == (BOTTLE, CUP, ZONE)
    for event in ("grasp", "tip", "full", "back", "upright", "release"):
        assert abs(getattr(mine, event) - getattr(true, event)) <= 3, event  # half a second


def test_the_skill_is_nearly_the_one_that_the_truth_teaches(seen: Demonstration) -> None:
    skill, ideal = (learn([demo], LearnConfig()) for demo in (seen, CAMERA.truth))
    assert isinstance(skill, PouringSkill) and isinstance(ideal, PouringSkill)
    assert skill.loop(PolicyConfig()).acts(skill.view(seen)) == ("take", "pour", "dispose")
    assert np.abs(skill.pour.mouth - ideal.pour.mouth).max() < 0.012 and skill.pour.side == ideal.pour.side
    assert skill.pour.grip_height == pytest.approx(ideal.pour.grip_height, abs=0.015)
    assert skill.pour.carry_height == pytest.approx(ideal.pour.carry_height, abs=0.015)
    assert skill.pour.tilt_max == pytest.approx(ideal.pour.tilt_max, abs=0.06)
    assert skill.pour.seconds == pytest.approx(ideal.pour.seconds, abs=0.5)
