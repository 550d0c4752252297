"""The verbs on files: each reads artefacts, says what it does, shows progress, and writes its artefact with a sidecar."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy import ndarray
from tqdm import tqdm

from visual_irl.config import load_config
from visual_irl.errors import InvalidInput, MissingFile, UnwritableOutput
from visual_irl.evaluation.interruption import until_interrupted
from visual_irl.io import artifacts
from visual_irl.io.atomic import require_writable_file, require_writable_folder
from visual_irl.io.evaluations import Evaluations
from visual_irl.io.event_file import EventFile
from visual_irl.tasks.scene import SeenThing
from visual_irl.types import ARM_ANGLES, Demonstration, ExecutionReport, RgbdFrame
from visual_irl.verbs.console import progress_bar, say

if TYPE_CHECKING:
    from visual_irl import pipeline
    from visual_irl.execution.guard import ApprovedTrajectory
    from visual_irl.execution.mujoco_executor import MujocoExecutor
    from visual_irl.tasks.mapped_motion import MappedMotion

TRUTH_FILE = "truth.npz"
"""Name of the true demonstration beside a synthetic recording."""
CURVES = "_curves"
"""Learning curves for TensorBoard lie beside a skill's folder, by its name and this: in it they would change its digest."""
CHECKPOINT = "_checkpoint.safetensors"
FILM_FPS = 12
FILM_SIZE = (480, 360)
STRIP = 8
"""Pictures of a filmstrip."""


def record(
    out: Path, camera: str, task: str, seed: int, things: int | None, body_seed: int, side: str, rate: float, raw: bool
) -> None:
    """Record a camera into a new folder; see `visual-irl record --help`."""
    from visual_irl.io.recording_writer import RecordingWriter
    from visual_irl.perception import CAMERAS
    from visual_irl.verbs.base_room import remark_of_usual_bases

    if out.exists() and any(out.iterdir() if out.is_dir() else [out]):
        raise UnwritableOutput(f"'{out}' exists and a recording is never overwritten; choose another folder or remove it")
    if camera != "synthetic":
        require_writable_folder(out.parent)
        _record_live(out, CAMERAS.load(camera)(), raw)
        return
    _require_known_detectors(task)
    source = CAMERAS.load(camera)(task=task, seed=seed, things=things, body_seed=body_seed, side=side, rate=rate)
    require_writable_folder(out.parent)
    total = len(source.truth.t)
    if note := remark_of_usual_bases(source.performance.scene):
        say(note)
    with (
        progress_bar("filming", "frame") as show,
        RecordingWriter(out, source.fixtures, encoding="raw" if raw else "compressed") as writer,
    ):
        for k, frame in enumerate(source):
            writer.write(frame)
            show(k + 1, total)
    artifacts.save_demonstration(out / TRUTH_FILE, source.truth)
    artifacts.write_sidecar(out / TRUTH_FILE, source, {})
    size = sum(f.stat().st_size for f in out.iterdir()) / 1e6
    say(f"recorded {total} frames ({source.truth.t[-1]:.1f} s, {size:.1f} MB) to {out}; the truth is in {out / TRUTH_FILE}")


def _require_known_detectors(task: str) -> None:
    """A task may leave it open who detects its things, but whom it names must be there: else it would be filmed for nothing."""
    from visual_irl.perception.objects.detectors import ObjectsConfig
    from visual_irl.tasks import load_task

    stated = load_task(task)
    for name in (stated.detector, getattr(stated, "cell_detector", "")):
        if name:
            ObjectsConfig(name).named(task)


def _record_live(out: Path, camera: Iterable[RgbdFrame], raw: bool) -> None:
    """Record a camera that sees the real world, until Ctrl-C. It states no pose: the recording is not calibrated."""
    from visual_irl.io.recording_writer import RecordingWriter

    count = 0
    with progress_bar("recording; Ctrl-C ends it", "frame") as show:
        frames = iter(camera)
        first = next(frames)
        with RecordingWriter(out, encoding="raw" if raw else "compressed") as writer, until_interrupted():
            for frame in chain([first], frames):
                writer.write(frame)
                count += 1
                show(count, count)
    say(f"recorded {count} frames to {out}")


def extract(
    sources: tuple[Path, ...],
    out: Path,
    side: str | None,
    task: str | None,
    *,
    pictures: Path | None = None,
    upper_arm: float | None = None,
    forearm: float | None = None,
    every: int | None = None,
    backend: str | None = None,
    config_file: Path | None = None,
) -> Demonstration:
    """Extract a demonstration from one or more cameras; see `visual-irl extract --help`."""
    from visual_irl.evaluation.pictures import contact_sheet
    from visual_irl.perception.extraction import ExtractionConfig, extract_demonstration

    if not sources:
        raise InvalidInput("nothing to extract from: name a recording, a folder of pictures or a video")
    require_writable_file(out)
    if pictures is not None:
        require_writable_folder(pictures, "--pictures")
    options: dict[str, Any] = {"side": side, "task": task, "every": every}
    given = {name: value for name, value in options.items() if value is not None}
    config = replace(load_config(ExtractionConfig(), config_file), **given)
    config = config.with_lengths(upper_arm, forearm)
    if backend is not None:
        config = replace(config, keypoints=replace(config.keypoints, detector=backend))
    with progress_bar("keypoints and objects", "frame") as show:
        demo, overlays = extract_demonstration(sources, config, STRIP if pictures else 0, show)
    artifacts.save_demonstration(out, demo)
    names = ["source", *(f"source_{i}" for i in range(2, len(sources) + 1))]
    artifacts.write_sidecar(out, config, dict(zip(names, sources, strict=True)))
    if pictures is not None:
        contact_sheet(pictures / "keypoints.png", [image for _, image in overlays], [title for title, _ in overlays])
    if demo.provenance["note"]:
        say(f"note: {demo.provenance['note']}")
    for name, share in demo.provenance.get("cameras", []):
        say(f"camera {name}: a person in {100 * share:.0f} % of the moments")
    if demo.provenance.get("left_out"):
        counts = ", ".join(f"{n} {what}" for what, n in demo.provenance["left_out"].items())
        say(f"left out, for they contradict the other cameras: {counts}")
    say(describe(demo))
    if known := known_angles(demo):
        say(known)
    truth = sources[0] / TRUTH_FILE if sources[0].is_dir() else sources[0].parent / TRUTH_FILE
    if truth.is_file():
        from visual_irl.evaluation.metrics import extraction_error

        error = extraction_error(demo, artifacts.load_demonstration(truth))
        right, apart = error["attributes_right"], list(error["objects_mm"].values())
        say(f"against the truth: arm joints {error['arm_mm_mean']:.0f} mm mean, {error['arm_mm_p95']:.0f} mm p95; "
            f"{error['objects_found']} of {error['objects_true']} objects found"
            + (f", {np.mean(apart):.1f} mm off" if apart else "")
            + (f"; attributes right {100 * right:.0f} %" if np.isfinite(right) else ""))  # fmt: skip
    say(f"wrote {out}" + (f" and a picture to {pictures}" if pictures else ""))
    return demo


def describe(demo: Demonstration) -> str:
    """One line about a demonstration."""
    told = {name: ", ".join(f"{a} {v:.2f}" for a, v in demo.attributes[name].items()) for name in demo.objects}
    objects = ", ".join(f"{name} ({attributes})" if attributes else name for name, attributes in told.items())
    return (
        f"{demo.t[-1]:.1f} s, {len(demo.t)} frames, a person in {int(demo.seen.sum())}, {demo.side} arm, frame '{demo.frame}', "
        f"objects: {objects or 'none'}"
    )


def known_angles(demo: Demonstration) -> str:
    """How well the angles of the demonstrating arm are known; empty where the hand never shows with the arm."""
    from visual_irl.mapping.human_arm import angle_deviations

    sigmas = angle_deviations(demo)
    sigmas = np.degrees(sigmas[~np.isnan(sigmas).any(axis=1)])
    if not len(sigmas):
        return ""
    told = ", ".join(
        f"{angle.replace('_', ' ')} {deg:.0f}" if np.isfinite(deg) else f"{angle.replace('_', ' ')} open"
        for angle, deg in zip(ARM_ANGLES, np.median(sigmas, axis=0), strict=True)
    )
    return f"standard deviations of the arm's angles (medians of {len(sigmas)} frames, degrees): {told}"


def curves_of(skill: Path) -> Path:
    """Folder of the learning curves of a skill's folder."""
    return skill.with_name(skill.name + CURVES)


def checkpoint_of(skill: Path) -> Path:
    """What a learner that is killed leaves beside a skill's folder: in it, it would change the skill's digest."""
    return skill.with_name(skill.name + CHECKPOINT)


def learn(demonstrations: Sequence[Path], out: Path, learner: str, resume: bool = False) -> pipeline.Skill:
    """Learn a skill; see `visual-irl learn --help`."""
    from visual_irl import pipeline

    require_writable_folder(out)
    demos = [artifacts.load_demonstration(path) for path in demonstrations]
    config = pipeline.LearnConfig(learner=learner)
    parts = [repr(config), artifacts.code_digest(), *(artifacts.digest(path) for path in demonstrations)]
    evaluations = Evaluations(checkpoint_of(out), hashlib.sha256("\n".join(parts).encode()).hexdigest(), resume)
    if resume:
        say(f"goes on after {len(evaluations)} steps" if len(evaluations) else "nothing was left by an earlier run: begins")
    with progress_bar(f"inverse reinforcement learning, {learner}", "step") as show, EventFile(curves_of(out)) as curves:
        had = len(evaluations)

        def progress(i: int, loss: float) -> None:
            show(i, max(i, 60))
            if i > had:  # the others are in the curves of the run that was killed
                curves.scalar("loss", loss, i)

        skill = pipeline.learn(demos, config, progress, evaluations)
    skill.save(out)
    inputs = {f"demonstration_{i}": path for i, path in enumerate(demonstrations)}
    artifacts.write_sidecar(out / pipeline.REWARD_FILE, config, inputs)
    artifacts.write_sidecar(out / pipeline.MOTION_FILE, config, inputs)
    evaluations.forget()
    strongest = sorted(zip(skill.reward.theta.tolist(), skill.reward.feature_names, strict=True), key=lambda r: -abs(r[0]))
    say("what the reward says: " + ", ".join(f"{name.replace('_', ' ')} {w:+.1f}" for w, name in strongest[:6]))
    say(f"wrote {out}")
    return skill


def replay(trajectory_path: Path, out: Path, world: Path | None, seed: int, video: bool) -> dict[str, Any]:
    """Replay in MuJoCo; see `visual-irl replay --help`. Returns the content of report.json."""
    from visual_irl.execution.guard import SIMULATED, approve
    from visual_irl.execution.mujoco_executor import MujocoExecutor
    from visual_irl.execution.state import RobotState
    from visual_irl.planning.planner import PlannerConfig
    from visual_irl.tasks.mapped_motion import read_mapped_motion
    from visual_irl.verbs.free_motion import free_of_collisions

    motion = read_mapped_motion(trajectory_path)
    if not motion.task:
        raise InvalidInput(f"'{trajectory_path}' maps a bare motion: replay needs the scene of a demonstrated task")
    motion = placed_in(motion, world)
    if not motion.things and not motion.fixtures:
        raise InvalidInput(
            f"'{trajectory_path}' was mapped from what has no objects or fixtures in a calibrated world (a plain video?): "
            "where a table would be is not known, so it cannot be replayed; `visual-irl map --pictures` shows the arm"
        )
    require_writable_folder(out)
    motion, repairs = free_of_collisions(motion, SIMULATED, PlannerConfig())
    robot = motion.robot
    start = RobotState.at_rest(robot.joint_names, motion.trajectory.q[0])  # where the simulation puts the arm
    approved = approve(motion.trajectory, robot, start, motion.world, SIMULATED, held=motion.held)
    executor = MujocoExecutor(motion.scene, robot, motion.T_world_base, seed=seed)
    try:
        with progress_bar(f"replaying on the {robot.name}, seed {seed}", "s") as show:
            report = _filmed(executor, approved, out, show) if video else executor.execute(approved)
    finally:
        executor.close()
    goals = motion.succeeded(report.details["outcome"])
    content = {
        "robot": robot.name,
        "seed": seed,
        "outcome": report.outcome,
        "message": report.message,
        "duration_s": float(motion.trajectory.t[-1]),
        "tracking_rms_rad": report.tracking_rms,
        "repairs": repairs,
        **count_of(goals),
        "final_positions_m": {name: T[:3, 3] for name, T in report.details["outcome"].Ts_world.items()},
        "world": "truth" if world is not None else "perceived",
    }
    artifacts.write_json(out / "report.json", content)
    artifacts.write_sidecar(
        out / "report.json", {"seed": seed}, {"trajectory": trajectory_path} | ({"world": world} if world else {})
    )
    if goals:
        say(f"{robot.name}, seed {seed}: {content['succeeded']} of {content['of']} {motion.goals}, by the physics")
    else:
        say(f"{robot.name}, seed {seed}: no objects; joints tracked to {1e3 * report.tracking_rms:.1f} mrad RMS")
    say(f"wrote {out / 'report.json'}" + (f" and {out / 'replay.mp4'}" if video else ""))
    return content


def count_of(goals: Mapping[str, bool]) -> dict[str, Any]:
    """What a report says of a task's goals (see `Task.succeeded`): each, and how many of them were reached."""
    return {"goals": goals, "succeeded": sum(goals.values()), "of": len(goals)}


def _filmed(
    executor: MujocoExecutor, approved: ApprovedTrajectory, out: Path, show: Callable[[int, int], None]
) -> ExecutionReport:
    """Execute, with replay.mp4 and filmstrip.png of it in the folder `out`; `show` is told the time and the duration [s]."""
    from visual_irl.evaluation.pictures import Mp4Writer, contact_sheet

    duration = float(approved.trajectory.t[-1])
    stills: list[tuple[float, ndarray]] = []
    with Mp4Writer(out / "replay.mp4", FILM_FPS, *FILM_SIZE) as film:

        def on_frame(t: float) -> None:
            image = executor.render("front", *FILM_SIZE)
            film.write(image)
            if t >= (len(stills) + 0.5) * duration / STRIP:
                stills.append((t, image))
            show(int(t), int(duration))

        report = executor.execute(approved, on_frame, fps=FILM_FPS)
    contact_sheet(out / "filmstrip.png", [image for _, image in stills], [f"t = {t:.1f} s" for t, _ in stills])
    return report


def placed_in(motion: MappedMotion, world: Path | None) -> MappedMotion:
    """The motion in the true scene of a `world` file, or in the one that was perceived."""
    if world is None:
        return motion
    if not Path(world).is_file():
        raise MissingFile(f"no world at '{world}'; a synthetic recording has a {TRUTH_FILE}, or leave --world out")
    truth = artifacts.load_demonstration(world)
    return replace(motion, things=things_in(truth), fixtures=dict(truth.fixtures))


def things_in(demo: Demonstration) -> dict[str, SeenThing]:
    """The objects of a demonstration as they lie at its start."""
    first = min(10, len(demo.t))
    return {
        name: SeenThing(
            np.median(path[:first], axis=0),
            float(demo.radii[name]),
            dict(demo.attributes[name]),
            demo.heights.get(name),
            demo.turns[name][0] if name in demo.turns else None,
        )
        for name, path in demo.objects.items()
    }


def models(action: str, names: Sequence[str]) -> None:
    """Fetch or list weights; see `visual-irl models --help`."""
    from visual_irl.perception.landmarks.weights import list_weights, pull

    if action == "list":
        for status in list_weights(names or None):
            here = f"in {status.path}" if status.present else "not fetched"
            say(f"{status.name:24} {status.size / 1e6:5.1f} MB  {status.licence}  {here}")
        return
    with tqdm(unit="B", unit_scale=True, leave=False, dynamic_ncols=True) as bar:

        def show(what: str, done: int, total: int | None) -> None:
            bar.set_description(f"  {what}")
            if bar.total != total:
                bar.reset(total)
            bar.update(done - bar.n)

        pull(names or None, show)
    say("weights are complete")
