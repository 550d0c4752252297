"""The prior's network: one answer to one question, trained from nothing, loaded, and refused where it does not fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from visual_irl.assets import asset_path, asset_target
from visual_irl.errors import InvalidInput, MissingFile, UnreadableFile
from visual_irl.mapping.hand_first import limb_direction, self_motion, work_of
from visual_irl.mapping.prior import (
    INPUTS,
    JOINTS,
    TERMS,
    Prior,
    held,
    load_prior,
    look,
    note_limbs,
    prior_of,
    prior_state,
    wished,
)
from visual_irl.mapping.prior_lessons import Lesson, lesson_of, synthetic_arm
from visual_irl.mapping.prior_training import TrainingConfig, fit, train_prior
from visual_irl.robots import load_robot
from visual_irl.robots.chain import chain_of, forward, tool_jacobian
from visual_irl.verbs import bench_stage
from visual_irl.verbs.bench_verb import mapping

Q = np.array([0.2, 0.4, -0.3, -1.6, 0.5, 1.7, 0.4])
UPPER, FORE, TURN = np.array([0.6, 0.48, 0.64]), np.array([0.0, -0.6, 0.8]), 0.5
ALONG = np.array([1.0, 0.0, -1.0, 0.0, 0.5, 0.0, 0.0])
"""Which direction of the self-motion is called positive."""


def network() -> Prior:
    rng = np.random.default_rng(0)

    def drawn(*shape: int) -> np.ndarray:
        return rng.normal(size=shape).astype(np.float32)

    return Prior(drawn(INPUTS, 8), drawn(8), drawn(8, 6), drawn(6), drawn(6, TERMS), drawn(TERMS), True)


def asked(q: np.ndarray, spin: float = 0.0, side: float = 1.0, sign: float = 1.0) -> float:
    """What a network says at `q` of limbs that turn, all of it turned by `spin` about the base or mirrored."""
    chain = chain_of(load_robot("panda"))
    work, state, free = work_of(chain), prior_state(network()), np.empty(JOINTS)
    c, s = np.cos(spin), np.sin(spin)
    R = np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]]) @ np.diag([1.0, side, 1.0])
    for upper, fore in ((UPPER, FORE), (UPPER[[1, 0, 2]], FORE[[1, 0, 2]])):
        note_limbs(state, R @ upper, R @ fore, 0.02)
    forward(chain, q, work.pose)
    tool_jacobian(work.pose, work.J)
    self_motion(work, ALONG * [side, 1.0, side, 1.0, side, 1.0, side], free)
    look(chain, work, state, q, sign * free)
    return float(wished(network(), state))


def test_one_question_has_one_answer() -> None:
    """Tool and base turned, the arm mirrored, the self-motion called by its other direction."""
    answer = asked(Q)
    assert abs(answer) > 0.05
    assert asked(Q, sign=-1.0) == pytest.approx(-answer, abs=1e-5)
    assert asked(Q + np.array([0, 0, 0, 0, 0, 0, 1.2])) == pytest.approx(answer, abs=1e-5)
    assert asked(Q + np.array([TURN, 0, 0, 0, 0, 0, 0]), spin=TURN) == pytest.approx(answer, abs=1e-5)
    mirrored = Q * np.array([-1, 1, -1, 1, -1, 1, -1])
    assert asked(mirrored, side=-1.0) == pytest.approx(answer, abs=1e-5)
    near_its_limit = Q + np.array([0, 0, 0, 0, 0, 0, 2.3])
    assert abs(asked(near_its_limit) - answer) > 1e-4  # there it is another question


def test_terms_are_how_the_limbs_turn_along_the_self_motion() -> None:
    """Against central differences of what the limbs miss."""
    chain = chain_of(load_robot("panda"))
    work, state, free = work_of(chain), prior_state(network()), np.empty(JOINTS)
    note_limbs(state, UPPER, FORE, 0.02)

    def misses(q: np.ndarray) -> np.ndarray:
        forward(chain, q, work.pose)
        tool_jacobian(work.pose, work.J)
        self_motion(work, np.ones(JOINTS), free)
        look(chain, work, state, q, free)
        return np.array(state.x[TERMS : TERMS + 2], float)

    def upper_arm(q: np.ndarray) -> np.ndarray:
        forward(chain, q, work.pose)
        limb_direction(chain, work, 0, work.d)
        return work.d.copy()

    misses(Q)
    along, terms, turn = free.copy(), state.terms.copy(), held(state, 1.0, 0.0)
    h = 1e-2  # inputs are kept in single precision
    assert turn == pytest.approx(((upper_arm(Q + h * along) - upper_arm(Q - h * along)) ** 2).sum() / (2.0 * h) ** 2, rel=1e-2)
    np.testing.assert_allclose(terms[:2], (misses(Q + h * along) - misses(Q - h * along)) / (2.0 * h), atol=2e-3)


def test_answers_lead_to_the_teacher() -> None:
    """A live arm's answers are small and many; some are beside the path, as far as that was taken."""
    lesson = lesson_of(load_robot("panda"), synthetic_arm(1), np.zeros(480, bool), 1, 150, np.random.default_rng(0))
    assert len(lesson.x) > 30 and np.isfinite(lesson.x).all() and np.isfinite(lesson.terms).all()
    assert 0.02 < np.abs(lesson.answer).mean() < 0.6


@pytest.mark.long
def test_prior_is_trained_from_scratch_and_loads(tmp_path: Path) -> None:
    config = TrainingConfig(synthetic=2, placements=1, epochs=1, batch=32)
    report = train_prior(load_robot("panda"), [], tmp_path / "prior.safetensors", config)
    assert report.motions == 2 and report.postures > 50
    assert load_prior("panda", tmp_path / "prior.safetensors").on
    with pytest.raises(InvalidInput, match="'ur5e' has 6 joints and no self-motion"):
        train_prior(load_robot("ur5e"), [], tmp_path / "none.safetensors", config)
    assert prior_of(load_robot("ur5e")) is None


def test_a_trained_prior_goes_where_the_package_looks_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[Path] = []
    monkeypatch.setattr(bench_stage, "train", lambda motion, robot, out, seed: written.append(out))
    monkeypatch.chdir(tmp_path)
    mapping(train_prior=True, robot="fr3")
    mapping(train_prior=True, robot="fr3", out=Path("mine.safetensors"))
    assert written == [asset_path("models/mapping_prior_fr3.safetensors"), Path("mine.safetensors")]
    with pytest.raises(MissingFile, match="--out"):
        asset_target("nowhere/weights.safetensors")


def test_the_network_learns_what_the_terms_are_worth() -> None:
    """The first term counts, but only where the first input is positive."""
    rng = np.random.default_rng(0)
    x, terms = rng.normal(size=(4000, INPUTS)).astype(np.float32), rng.normal(size=(4000, TERMS))
    lesson = Lesson(x, terms, 0.1 * terms[:, 0] * (x[:, 0] > 0.0))
    trained = fit(
        Lesson(*(part[:3000] for part in lesson)), TrainingConfig(epochs=20, batch=100, dropout=0.0), lambda *at: None
    )
    assert trained.told(Lesson(*(part[3000:] for part in lesson))) > 0.5


def test_bad_priors_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingFile, match="train one with: visual-irl bench mapping --train-prior --robot kuka"):
        load_prior("kuka")
    (tmp_path / "text.safetensors").write_text("no weights")
    with pytest.raises(UnreadableFile, match="is not a mapping prior"):
        load_prior("panda", tmp_path / "text.safetensors")
    save_file({"W1": np.zeros((2, 3), np.float32)}, tmp_path / "other.safetensors")
    with pytest.raises(InvalidInput, match="it holds W1, expected"):
        load_prior("panda", tmp_path / "other.safetensors")
    shapes = {"W1": (8, 101), "b1": (8,), "W2": (6, 8), "b2": (6,), "W3": (1, 6), "b3": (1,)}
    save_file({name: np.zeros(shape, np.float32) for name, shape in shapes.items()}, tmp_path / "old.safetensors")
    with pytest.raises(InvalidInput, match="do not fit each other or an arm"):
        load_prior("panda", tmp_path / "old.safetensors")
