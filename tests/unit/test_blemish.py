"""The blemish classifier: what it is shown, that it runs as it was trained, and what the one that ships can do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from visual_irl import se3
from visual_irl.errors import InvalidInput, LearningFailed, MissingDependency, MissingFile, UnreadableFile
from visual_irl.perception.objects.blemish import DARKER, SHAPES, blemish_probability, dark_shares, load_blemish_network
from visual_irl.perception.objects.blemish_training import (
    BlemishModule,
    Sightings,
    TrainingConfig,
    found_in,
    joined,
    train_classifier,
)
from visual_irl.perception.objects.filmed_lessons import film_lessons
from visual_irl.perception.objects.onion_lessons import draw_lesson
from visual_irl.perception.objects.onion_pixels import CELLS, CHANNELS, Disc, OnionColour, onion_patch
from visual_irl.perception.objects.onions import OnionDetectorConfig, OnionFinder

UNTAUGHT = 10_000_000
"""Lessons from this seed on were not taught."""
FINDER = OnionFinder()


@pytest.fixture(scope="module")
def filmed() -> Sightings:
    """Of one person, in eight lights."""
    try:
        return joined([found_in(lesson, FINDER) for lesson in film_lessons(UNTAUGHT, frames=8)])
    except MissingDependency as error:
        pytest.skip(f"no OpenGL to draw with: {error}")


def right(sightings: Sightings) -> tuple[float, float]:
    """Shares that the network that ships tells right: sound, and blemished."""
    network = load_blemish_network()
    told = np.array([blemish_probability(network, patch) > 0.5 for patch in sightings.patches])
    return float((~told[~sightings.blemished]).mean()), float(told[sightings.shares > 0.10].mean())


def test_a_lesson_is_the_same_each_time_and_knows_what_is_seen() -> None:
    lesson, again, other = draw_lesson(UNTAUGHT), draw_lesson(UNTAUGHT), draw_lesson(UNTAUGHT + 1)
    assert (lesson.frame.rgb == again.frame.rgb).all() and not (lesson.frame.rgb == other.frame.rgb).all()
    shares = np.concatenate([draw_lesson(UNTAUGHT + i).shares for i in range(10)])
    seen = shares[np.isfinite(shares)]
    assert len(seen) > 20 and 0.3 < (seen == 0.0).mean() < 0.8 and seen.max() < 1.0
    gaps = [np.linalg.norm(lesson.centres - onion.sphere.centre, axis=1).min() for onion in FINDER.find(lesson.frame)]
    assert len(gaps) >= 2 and np.median(gaps) < 0.01


def test_an_onions_picture_is_free_of_exposure() -> None:
    for seed in range(UNTAUGHT, UNTAUGHT + 20):
        frame = draw_lesson(seed).frame
        if 100 < frame.rgb.max() < 250:  # bright, and nothing of it cut off
            break
    darker = replace(frame, rgb=(0.6 * frame.rgb).round().astype(np.uint8))
    one, two = (OnionFinder(OnionDetectorConfig(darkest=10)).find(f)[0].patch for f in (frame, darker))
    assert one is not None and two is not None and np.abs(one - two).mean() < 0.03  # whole levels


def test_what_touches_the_rim_is_not_looked_at_where_that_is_told() -> None:
    """A dark ring at an onion's depth, as a gripper's pads are."""
    frame, gain, colour = draw_lesson(UNTAUGHT).frame, np.ones(3, np.float32), OnionColour(0.58, 12.0, 48.0, 36.0)
    assert frame.T_world_camera is not None
    sphere = max(FINDER.find(frame), key=lambda onion: onion.visible).sphere
    p = se3.apply(se3.inverse(frame.T_world_camera), sphere.centre)
    disc = Disc(*frame.intrinsics.project(p), frame.intrinsics.fx * sphere.radius / p[2], p[2], sphere.radius)
    v, u = np.mgrid[: frame.rgb.shape[0], : frame.rgb.shape[1]]
    away = np.hypot(u - disc.u, v - disc.v) / disc.rim
    ringed = replace(frame, rgb=np.where(((away > 0.8) & (away < 1.1))[:, :, None], np.uint8(30), frame.rgb))
    inner, inner_ringed = (onion_patch(f, disc, 0.75, 0.012, gain, colour) for f in (frame, ringed))
    whole, whole_ringed = (onion_patch(f, disc, 0.95, 0.012, gain, colour) for f in (frame, ringed))
    assert inner is not None and inner[0].sum() > 50 and np.array_equal(inner, inner_ringed)
    assert not np.allclose(whole, whole_ringed)


def test_the_network_that_runs_is_the_one_that_was_trained(tmp_path: Path) -> None:
    torch.manual_seed(3)
    module = BlemishModule()
    save_file(module.frozen()._asdict(), tmp_path / "network.safetensors")
    network = load_blemish_network(tmp_path / "network.safetensors")
    patches = np.random.default_rng(0).normal(0.5, 1.0, (5, CHANNELS, CELLS, CELLS)).astype(np.float32)  # some cells are dark
    shares = torch.from_numpy(np.array([dark_shares(patch) for patch in patches]))
    expected = torch.sigmoid(module(torch.from_numpy(patches), shares)).detach().numpy()
    assert [blemish_probability(network, x) for x in patches] == pytest.approx(expected.tolist(), abs=1e-5)
    assert np.ptp(expected) > 1e-3


def test_what_is_nowhere_dark_is_no_blemish_whatever_its_rim_looks_like() -> None:
    patch = np.ones((CHANNELS, CELLS, CELLS), np.float32)
    patch[3:] = np.random.default_rng(0).normal(0.0, 1.0, patch[3:].shape)
    assert blemish_probability(load_blemish_network(), patch) < 0.2


def test_a_blemish_at_the_edge_is_one_but_not_what_is_at_the_rim() -> None:
    """A dark crescent that is just coming into view, and pads that touch the rim."""
    network, x = load_blemish_network(), (2 * np.arange(CELLS) + 1) / CELLS - 1
    away, right = np.hypot(*np.meshgrid(x, x)), np.meshgrid(x, x)[0] > 0.4
    for least, told in ((0.86, True), (0.905, False)):
        patch = np.zeros((CHANNELS, CELLS, CELLS), np.float32)
        patch[:3] = away < 0.95
        patch[1:3, (away > least) & (away < 0.95) & right] = 0.2
        assert (blemish_probability(network, patch) > 0.13) == told, least


def test_dark_shares_count_cells() -> None:
    patch = np.zeros((CHANNELS, CELLS, CELLS), np.float32)
    patch[:3] = 1.0
    whole = dark_shares(patch)
    assert whole[-1] == 1.0 and not whole[:-1].any()
    patch[1:3, 6:10, 6:10] = 0.32
    n, inner = len(DARKER), (np.hypot(*np.meshgrid(*2 * [(2 * np.arange(CELLS) + 1) / CELLS - 1])) < 0.85).sum()
    shares = dark_shares(patch)
    for k, cells in enumerate((16, 16, 9)):  # by brightness twice, and where four are together
        wanted = [np.sqrt(cells / inner) if limit > 0.32 else 0.0 for limit in DARKER]
        assert shares[k * n : (k + 1) * n] == pytest.approx(wanted, abs=1e-6)


@pytest.mark.long
def test_training_learns_from_few_pictures_and_writes_what_it_learned(tmp_path: Path) -> None:
    out, steps = tmp_path / "trained.safetensors", []
    config = TrainingConfig(films=0, pictures=32, epochs=20, batch=32)
    report = train_classifier(out, config, lambda what, done, total: steps.append(what))
    assert report.sightings > 50 and report.held_out > 5 and {"drawing", "learning"} == set(steps)
    assert report.last_loss < 0.7 * report.first_loss and report.sound_right + report.blemished_right > 1.2  # 1 is a guess
    load_blemish_network(out)
    with pytest.raises(LearningFailed, match="too few onions"):
        train_classifier(out, TrainingConfig(films=0, pictures=2), lambda *_: None)


def test_films_show_blemishes_from_every_side(filmed: Sightings) -> None:
    assert len(filmed.shares) > 20 and 0.1 < filmed.blemished.mean() < 0.7


def test_the_one_that_ships_is_right_on_people_and_lights_that_were_not_taught(filmed: Sightings) -> None:
    sound, blemished = right(filmed)
    assert sound > 0.85 and blemished > 0.85


def test_the_one_that_ships_is_right_on_onions_that_were_not_taught() -> None:
    sound, blemished = right(joined([found_in(draw_lesson(UNTAUGHT + i), FINDER) for i in range(20)]))
    assert sound > 0.85 and blemished > 0.85


def test_files_that_are_no_classifier_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingFile, match="--train-blemish"):
        OnionDetectorConfig(classifier=str(tmp_path / "none")).build()
    (tmp_path / "text").write_text("no weights")
    with pytest.raises(UnreadableFile, match="not a blemish classifier"):
        load_blemish_network(tmp_path / "text")
    fitting = {name: np.zeros(shape, np.float32) for name, shape in SHAPES.items()}
    for wrong, match in ((np.zeros(2, np.float32), "expected"), (np.full(1, np.nan, np.float32), "not finite")):
        save_file(fitting | {"b4": wrong}, tmp_path / "wrong")
        with pytest.raises(InvalidInput, match=match):
            load_blemish_network(tmp_path / "wrong")
