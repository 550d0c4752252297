"""The verbs on files: each reads artefacts, says what it does, shows progress, and writes its artefact with a sidecar."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy import ndarray
from tqdm import tqdm

from visual_irl import pipeline, se3
from visual_irl.config import load_config
from visual_irl.errors import InvalidInput, MissingFile, UnwritableOutput
from visual_irl.io import artifacts
from visual_irl.io.atomic import require_writable_folder
from visual_irl.tasks import TASKS
from visual_irl.tasks.scene import Scene, SceneObject
from visual_irl.types import Demonstration

TRUTH_FILE = "truth.npz"
"""Name of the true demonstration beside a synthetic recording."""
FILM_FPS = 12
FILM_SIZE = (480, 360)
MAPPING_RATE = 40.0
"""Samples a second at which a demonstrated arm is mapped [1/s]."""
STRIP = 8
"""Pictures of a filmstrip."""


def say(text: str) -> None:
    """Tell the user what happens."""
    print(text, flush=True)


@contextmanager
def progress_bar(what: str, unit: str) -> Iterator[Callable[[int, int], None]]:
    """A bar that is told (done, total); in a log file, a line every ten seconds."""
    live = sys.stderr.isatty()
    with tqdm(desc=f"  {what}", unit=unit, leave=False, dynamic_ncols=live, mininterval=0.2 if live else 10.0) as bar:

        def show(done: int, total: int) -> None:
            if bar.total != total:
                bar.reset(total)
            bar.update(done - bar.n)

        yield show


def record(out: Path, camera: str, seed: int, onions: int, body_seed: int, side: str, rate: float, raw: bool) -> None:
    """Record a camera into a new folder; see `visual-irl record --help`."""
    from visual_irl.io.recording_writer import RecordingWriter
    from visual_irl.perception import CAMERAS

    if out.exists() and any(out.iterdir() if out.is_dir() else [out]):
        raise UnwritableOutput(f"'{out}' exists and a recording is never overwritten; choose another folder or remove it")
    source = CAMERAS.load(camera)(seed=seed, onions=onions, body_seed=body_seed, side=side, rate=rate)
    require_writable_folder(out.parent)
    total = len(source.truth.t)
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


def extract(
    source: Path,
    out: Path,
    side: str,
    task: str,
    pictures: Path | None,
    upper_arm: float | None,
    forearm: float | None,
    every: int,
    config_file: Path | None,
) -> Demonstration:
    """Extract a demonstration from frames; see `visual-irl extract --help`."""
    from visual_irl.evaluation.pictures import contact_sheet
    from visual_irl.perception.extraction import ExtractionConfig, extract_demonstration

    require_writable_folder(out.parent)
    if pictures is not None:
        require_writable_folder(pictures)
    config = replace(load_config(ExtractionConfig, config_file), side=side, task=task, every=every)
    config = config.with_lengths(upper_arm, forearm)
    with progress_bar("keypoints and objects", "frame") as show:
        demo, overlays = extract_demonstration(source, config, STRIP if pictures else 0, show)
    artifacts.save_demonstration(out, demo)
    artifacts.write_sidecar(out, config, {"source": source})
    if pictures is not None:
        contact_sheet(pictures / "keypoints.png", [image for _, image in overlays], [f"t = {t:.1f} s" for t, _ in overlays])
    if demo.provenance["note"]:
        say(f"note: {demo.provenance['note']}")
    say(describe(demo))
    truth = source / TRUTH_FILE if source.is_dir() else source.parent / TRUTH_FILE
    if truth.is_file():
        from visual_irl.evaluation.metrics import extraction_error

        error = extraction_error(demo, artifacts.load_demonstration(truth))
        say(f"against the truth: arm joints {error['arm_mm_mean']:.0f} mm mean, {error['arm_mm_p95']:.0f} mm p95; objects "
            f"{np.mean(list(error['objects_mm'].values()) or [np.nan]):.1f} mm; attributes right "
            f"{100 * error['attributes_right']:.0f} %")  # fmt: skip
    say(f"wrote {out}")
    return demo


def describe(demo: Demonstration) -> str:
    """One line about a demonstration."""
    objects = ", ".join(
        f"{name} ({', '.join(f'{a} {v:.2f}' for a, v in demo.attributes[name].items())})" for name in demo.objects
    )
    return (
        f"{demo.t[-1]:.1f} s, {len(demo.t)} frames, a person in {int(demo.seen.sum())}, {demo.side} arm, world '{demo.frame}', "
        f"objects: {objects or 'none'}"
    )


def learn(demonstrations: Sequence[Path], out: Path, learner: str) -> pipeline.Skill:
    """Learn a skill; see `visual-irl learn --help`."""
    require_writable_folder(out)
    demos = [artifacts.load_demonstration(path) for path in demonstrations]
    config = pipeline.LearnConfig(learner=learner)
    with progress_bar("maximum-entropy inverse reinforcement learning", "step") as show:
        skill = pipeline.learn(demos, config, lambda i, loss: show(i, max(i, 60)))
    skill.save(out)
    inputs = {f"demonstration_{i}": path for i, path in enumerate(demonstrations)}
    artifacts.write_sidecar(out / pipeline.REWARD_FILE, config, inputs)
    artifacts.write_sidecar(out / pipeline.MOTION_FILE, config, inputs)
    strongest = sorted(zip(skill.reward.theta.tolist(), skill.reward.feature_names, strict=True), key=lambda r: -abs(r[0]))
    say("what the reward says: " + ", ".join(f"{name.replace('_', ' ')} {w:+.1f}" for w, name in strongest[:6]))
    say(f"wrote {out}")
    return skill


def map_motion(
    demonstration: Path,
    robot_name: str,
    skill_path: Path | None,
    out: Path,
    mount: tuple[float, float, float, float] | None,
    pictures: Path | None,
    config_file: Path | None,
) -> None:
    """Map an arm onto a robot; see `visual-irl map --help`."""
    from visual_irl.evaluation import pictures as draw
    from visual_irl.mapping.human_arm import anchored, densified, observed_arm
    from visual_irl.mapping.placement import find_placement, placed_arm
    from visual_irl.mapping.retarget import RetargetConfig, retarget
    from visual_irl.policy.skill import PolicyConfig
    from visual_irl.robots import load_robot

    robot = load_robot(robot_name)
    require_writable_folder(out.parent)
    demo = artifacts.load_demonstration(demonstration)
    inputs = {"demonstration": demonstration}
    T_world_base = robot.T_world_base if mount is None else base_pose(mount)
    scale = 1.0
    attribute = pipeline.LearnConfig().attribute
    if skill_path is not None:
        skill = pipeline.Skill.load(skill_path)
        plan, arm = pipeline.plan(skill, demo, attribute, PolicyConfig())
        inputs |= {"reward": skill_path / pipeline.REWARD_FILE, "motion": skill_path / pipeline.MOTION_FILE}
        what = f"what the skill does with {len(demo.objects)} objects"
        phases: list[str] = [p for i, p in enumerate(plan.phase) if i == 0 or p != plan.phase[i - 1]]
    else:
        arm, what, phases = densified(observed_arm(demo), MAPPING_RATE), "the demonstrated arm", []
        free = demo.frame != "world"  # nothing but the arm is known: it may be moved and scaled
        arm = anchored(arm) if free else arm
        if mount is None:
            with progress_bar(f"where to put the {robot.name}", "place") as show:
                placement = find_placement(arm, robot, free, show)
            T_world_base, scale = placement.T_world_base, placement.scale
            arm = placed_arm(arm, placement)
    config = replace(load_config(RetargetConfig, config_file), elbow_up=skill_path is not None)
    with progress_bar(f"mapping onto the {robot.name}", "frame") as show:
        trajectory, report = retarget(arm, robot, T_world_base, config, show)
    summary = report.summary()
    header = {
        "robot": robot.name,
        "T_world_base": T_world_base,
        "scale": scale,
        "task": demo.task,
        "summary": summary,
        "phases": phases,
        "objects": {
            thing.name: {"p_world": thing.p_world, "radius": thing.radius, "attributes": demo.attributes[thing.name]}
            for thing in (pipeline.things_of(demo, attribute) if demo.objects else [])
        },
        "fixtures": demo.fixtures,
    }
    per_frame = {
        f"frame_{name}": getattr(report, name)
        for name in (
            "t",
            "position_error",
            "rotation_error",
            "upper_error",
            "fore_error",
            "reachable",
            "observed",
            "robot_points",
        )
    }
    human = np.stack([arm.shoulder, arm.elbow, arm.wrist, arm.Ts_world_hand[:, :3, 3]], axis=1)
    artifacts.save_trajectory(out, trajectory, header, frame_human_points=human, **per_frame)
    artifacts.write_sidecar(out, config, inputs)
    if pictures is not None:
        require_writable_folder(pictures)
        draw.plot_arms(pictures / f"arms_{robot.name}.png", arm, report, robot.name)
        draw.plot_tracking(pictures / f"mapping_{robot.name}.png", report)
    say(
        f"{what} on the {robot.name}: {100 * summary['reachable']:.1f} % of {summary['frames']} frames exact (hand within "
        f"{summary['position_mm_max']:.2f} mm), {trajectory.t[-1]:.1f} s for a plan of {arm.t[-1] - arm.t[0]:.1f} s"
        + (f", hand path scaled by {scale:.2f}" if scale != 1.0 else "")
        + (
            f"; the arm was seen in {100 * summary['observed']:.0f} % of them, the rest is bridged"
            if skill_path is None
            else ""
        )
    )
    say(f"wrote {out}")


def base_pose(mount: tuple[float, float, float, float]) -> ndarray:
    """`T_world_base` of x, y, z [m] and yaw [rad]."""
    if not np.isfinite(mount).all():
        raise InvalidInput(f"mount {mount} must be four finite numbers: x y z [m] and yaw [rad]")
    return se3.transform(se3.exp_so3(np.array([0.0, 0.0, mount[3]])), np.array(mount[:3]))


def replay(trajectory_path: Path, out: Path, world: Path | None, seed: int, video: bool) -> dict[str, Any]:
    """Replay in MuJoCo; see `visual-irl replay --help`. Returns the content of report.json."""
    from visual_irl.evaluation.pictures import Mp4Writer, contact_sheet
    from visual_irl.execution.guard import approve
    from visual_irl.execution.mujoco_executor import MujocoExecutor
    from visual_irl.robots import load_robot

    trajectory, header, _ = artifacts.load_trajectory(trajectory_path)
    robot = load_robot(header["robot"])
    require_writable_folder(out)
    task = TASKS.load(header["task"])()
    scene = scene_of(header, world, task)
    approved = approve(trajectory, robot, trajectory.q[0])
    executor = MujocoExecutor(scene, robot, np.array(header["T_world_base"]), seed=seed)
    duration = float(trajectory.t[-1])
    stills: list[tuple[float, ndarray]] = []
    try:
        with progress_bar(f"replaying on the {robot.name}, seed {seed}", "s") as show:
            if video:
                with Mp4Writer(out / "replay.mp4", FILM_FPS, *FILM_SIZE) as film:

                    def on_frame(t: float) -> None:
                        image = executor.render("front", *FILM_SIZE)
                        film.write(image)
                        if t >= (len(stills) + 0.5) * duration / STRIP:
                            stills.append((t, image))
                        show(int(t), int(duration))

                    report = executor.execute(approved, on_frame, fps=FILM_FPS)
                contact_sheet(out / "filmstrip.png", [i for _, i in stills], [f"t = {t:.1f} s" for t, _ in stills])
            else:
                report = executor.execute(approved)
    finally:
        executor.close()
    sorted_ = task.success(scene, report.details["objects"])
    content = {
        "robot": robot.name,
        "seed": seed,
        "outcome": report.outcome,
        "message": report.message,
        "duration_s": duration,
        "tracking_rms_rad": report.tracking_rms,
        "objects": sorted_,
        "sorted": sum(sorted_.values()),
        "of": len(sorted_),
        "final_positions_m": report.details["objects"],
        "world": "truth" if world is not None else "perceived",
    }
    artifacts.write_json(out / "report.json", content)
    artifacts.write_sidecar(
        out / "report.json", {"seed": seed}, {"trajectory": trajectory_path} | ({"world": world} if world else {})
    )
    if sorted_:
        say(f"{robot.name}, seed {seed}: {content['sorted']} of {content['of']} objects in the right bin, by the physics")
    else:
        say(f"{robot.name}, seed {seed}: no objects; joints tracked to {1e3 * report.tracking_rms:.1f} mrad RMS")
    return content


def scene_of(header: dict[str, Any], world: Path | None, task: Any) -> Scene:
    """The scene to simulate: the true one of a `world` file, or the one that was perceived."""
    if world is not None:
        if not Path(world).is_file():
            raise MissingFile(f"no world at '{world}'; a synthetic recording has a {TRUTH_FILE}, or leave --world out")
        truth = artifacts.load_demonstration(world)
        objects = {
            name: {"p_world": path[0], "radius": truth.radii[name], "attributes": truth.attributes[name]}
            for name, path in truth.objects.items()
        }
        fixtures = dict(truth.fixtures)
    else:
        objects, fixtures = header["objects"], {n: np.array(T) for n, T in header["fixtures"].items()}
    if not objects:
        return Scene((), ())
    items = tuple(
        SceneObject(name, task.label, np.array(o["p_world"], float), float(o["radius"]), o["attributes"])
        for name, o in objects.items()
    )
    return Scene(items, task.fixtures_at(fixtures))


def models(action: str, names: Sequence[str]) -> None:
    """Fetch or list weights; see `visual-irl models --help`."""
    from visual_irl.perception.weights import list_weights, pull

    if action == "list":
        for status in list_weights():
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
