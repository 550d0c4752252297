"""What goes wrong ends with one clear message, a non-zero exit and no broken file."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

import numpy as np
import pytest

from visual_irl import cli
from visual_irl.errors import InvalidInput
from visual_irl.io import artifacts
from visual_irl.io.recording_writer import RecordingWriter
from visual_irl.perception.extraction import ExtractionConfig
from visual_irl.types import Intrinsics, RgbdFrame
from visual_irl.verbs.bench_verb import SUBJECTS

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "visual_irl"]


def run(capsys: pytest.CaptureFixture[str], *args: str) -> str:
    """Standard error of a command that must fail."""
    with pytest.raises(SystemExit) as stop:
        cli.main(list(args))
    assert stop.value.code == 1
    error = capsys.readouterr().err
    lines = [line for line in error.replace("\r", "\n").splitlines() if line.startswith("error: ")]
    assert len(lines) == 1 and "Traceback" not in error, error
    return lines[0]


def blank_recording(folder: Path, depth: np.ndarray | None, frames: int = 6) -> Path:
    camera = Intrinsics.from_fov(64, 48, 1.2)
    with RecordingWriter(folder, {}) as writer:
        for i in range(frames):
            rgb = np.random.default_rng(i).integers(0, 255, (48, 64, 3), dtype=np.uint8)
            writer.write(RgbdFrame(1_000_000_000 + i * 66_000_000, rgb, depth, camera, np.eye(4)))
    return folder


@pytest.mark.parametrize("verb", list(cli.VERBS))
def test_every_verb_has_help_with_an_example(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main([verb, "--help"])
    assert stop.value.code == 0
    text = re.sub(r"\s+", " ", capsys.readouterr().out)
    assert f"Example: visual-irl {verb}" in text


@pytest.mark.parametrize("subject", list(SUBJECTS))
def test_every_subject_of_bench_has_its_own_options(subject: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(["bench", subject, "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert f"Example: visual-irl bench {subject}" in text and "--json" in text
    assert ("--motion" in text) == (subject == "mapping") and ("--task" in text) == (subject == "irl")


def test_the_list_of_verbs_is_short(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    text = capsys.readouterr().out
    assert all(f"• {verb} " in text for verb in cli.VERBS) and "Example" not in text


@pytest.mark.parametrize("command", [("bench", "--help"), ("models", "list")])
def test_a_reader_that_has_left_is_no_error(command: tuple[str, ...]) -> None:
    read, write = os.pipe()
    os.close(read)  # as `head` does
    done = subprocess.run([*COMMAND, *command], stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert done.returncode == 128 + signal.SIGPIPE and done.stderr == ""


def test_a_broken_pipe_of_a_verb_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def lost() -> None:
        raise BrokenPipeError("a worker's")

    monkeypatch.setitem(cli.VERBS, "models", lost)
    with pytest.raises(BrokenPipeError, match="a worker's"):
        cli.main(["models"])


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(cli.VERBS, "models", lambda: Path("/dev/full").write_text("curve"))
    assert "No space left on device; free some space" in run(capsys, "models")
    monkeypatch.setitem(cli.VERBS, "models", lambda: Path("/nowhere/to/write").write_text("curve"))
    with pytest.raises(FileNotFoundError):
        cli.main(["models"])


def test_empty_video(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty.mp4").write_bytes(b"")
    message = run(capsys, "extract", str(tmp_path / "empty.mp4"), "--out", str(tmp_path / "demo.npz"))
    assert "empty.mp4" in message and not (tmp_path / "demo.npz").exists()


def test_missing_input_and_wrong_kind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "nowhere" in run(capsys, "extract", str(tmp_path / "nowhere"), "--out", str(tmp_path / "d.npz"))
    (tmp_path / "not.npz").write_text("nothing")
    assert "visual-irl extract" in run(capsys, "learn", str(tmp_path / "not.npz"), "--out", str(tmp_path / "skill"))


def test_a_file_of_another_verb_is_called_by_its_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "points.npy", np.zeros(3))
    for verb in (["learn"], ["map", "--motion"]):
        message = run(capsys, *verb, str(tmp_path / "points.npy"), "--out", str(tmp_path / f"{verb[0]}.out"))
        assert "it is no .npz" in message and "pickle" not in message
    for verb in (["evaluate", str(tmp_path / "points.npy")], ["run", str(tmp_path / "points.npy")]):
        assert "no skill at" in run(capsys, *verb)


@pytest.mark.parametrize("verb", [["record", "out"], ["replay", "t.npz"], ["evaluate", "skill"], ["bench", "irl"]])
def test_a_seed_is_never_negative(verb: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main([*verb, "--seed", "-1"])
    assert stop.value.code == 2 and "seed -1 is negative; give a whole number from 0 on" in capsys.readouterr().err


def test_wrong_robot_lists_the_known(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    message = run(capsys, "map", str(tmp_path / "d.npz"), "--robot", "pandda", "--out", str(tmp_path / "t.npz"))
    assert "pandda" in message and "fr3, panda, ur10e, ur5e" in message


def test_unwritable_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    message = run(capsys, "extract", str(tmp_path), "--out", str(tmp_path / "file" / "demo.npz"))
    assert "cannot write to" in message and "choose another --out" in message
    message = run(capsys, "extract", str(tmp_path), "--out", str(tmp_path / "d.npz"), "--pictures", str(tmp_path / "file"))
    assert "it is a file; choose another --pictures" in message
    message = run(capsys, "bench", "memory", "--json", str(tmp_path / "file" / "memory.json"))
    assert "cannot write to" in message and "choose another --json" in message


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("record out --things 9", "9 onions do not fit on the table; choose 1 to 8"),
        ("record out --task pouring --things 5", "5 things for 'pouring', which always has one bottle and one cup"),
        ("extract", "nothing to extract from"),
        ("extract here --out .", "it is a folder"),
        ("map d.npz --out .", "it is a folder"),
        ("map d.npz --config nowhere.yaml", "no configuration at 'nowhere.yaml'"),
        ("map d.npz --smooth-hand-ms -4", "smooth_hand is -0.004"),
        ("map d.npz --side left", "a demonstration does: extract --side"),
        ("models list nosuch", "unknown weights 'nosuch'"),
        ("bench perception --backend torch --clips nowhere", "no clip at 'nowhere'"),
        ("run nowhere", "no skill at 'nowhere'"),
        ("check-robot --executor nosuch", "unknown executor 'nosuch'; known: mujoco, franka, ur"),
        ("demo --recording nowhere", "no recording at 'nowhere'"),
        ("demo --seeds 0", "--seeds is 0"),
        ("view nowhere --port 0", "'nowhere' is neither"),
    ],
)
def test_wrong_usage_is_said_before_any_work(
    command: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert told in run(capsys, *command.split())
    assert not list(tmp_path.rglob("*.*"))  # folders at most


def test_where_compiled_functions_cannot_be_kept_the_way_out_is_said(tmp_path: Path) -> None:
    nowhere = {**os.environ, "NUMBA_CACHE_LOCATOR_CLASSES": "IPythonCacheLocator"}  # as if no folder could be written to
    done = subprocess.run([*COMMAND, "map", "d.npz"], env=nowhere, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1 and "NUMBA_CACHE_DIR" in done.stderr and "Traceback" not in done.stderr, done.stderr


def test_help_is_shown_in_any_locale() -> None:
    ascii_only = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([*COMMAND, "--help"], env=ascii_only, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and "extract" in done.stdout, done.stderr


def test_existing_recording_is_never_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "rec").mkdir()
    (tmp_path / "rec" / "precious").write_text("data")
    assert "never overwritten" in run(capsys, "record", str(tmp_path / "rec"))
    assert (tmp_path / "rec" / "precious").read_text() == "data"


def test_depth_that_is_nan_everywhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = blank_recording(tmp_path / "nan", np.full((48, 64), np.nan, np.float32))
    message = run(capsys, "extract", str(source), "--out", str(tmp_path / "demo.npz"))
    assert "depth" in message and not (tmp_path / "demo.npz").exists()


def test_missing_depth_topic_names_the_launch_argument(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = blank_recording(tmp_path / "colour", None)
    message = run(capsys, "extract", str(source), "--out", str(tmp_path / "demo.npz"))
    assert "align_depth.enable:=true" in message and not (tmp_path / "demo.npz").exists()


def test_recording_without_a_person(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = blank_recording(tmp_path / "empty_room", np.full((48, 64), 1.0, np.float32))
    message = run(capsys, "extract", str(source), "--out", str(tmp_path / "demo.npz"))
    assert "arm" in message and not (tmp_path / "demo.npz").exists()


def test_bad_limb_length(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    message = run(capsys, "extract", str(tmp_path), "--upper-arm", "30", "--out", str(tmp_path / "demo.npz"))
    assert "30.0 m" in message and "0.1 and 0.6" in message


def started(folder: Path, *args: str, stderr: int = subprocess.PIPE, path: Path | None = None) -> subprocess.Popen[str]:
    """A command as a terminal starts it: Ctrl-C reaches it, whatever this process was told to do with the signal. Modules in
    `path` go before all others."""
    environment = {**os.environ, "MUJOCO_GL": os.environ.get("MUJOCO_GL", "egl")}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, (str(path or ""), environment.get("PYTHONPATH"))))
    return subprocess.Popen(
        [*COMMAND, *args], env=environment, stderr=stderr, text=True, cwd=folder,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip


def interrupted(process: subprocess.Popen[str], how: signal.Signals = signal.SIGINT) -> None:
    """Ctrl-C, or another request to end, and what must come of it."""
    process.send_signal(how)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 128 + how and "interrupted" in error and "Traceback" not in error, error


def test_an_option_wins_over_the_configuration_and_nothing_else_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def told(sources: tuple[Path, ...], config: ExtractionConfig, *rest: object) -> None:
        raise InvalidInput(f"{config.side} {config.task} {config.every}")

    monkeypatch.setattr("visual_irl.perception.extraction.extract_demonstration", told)
    (tmp_path / "c.yaml").write_text("side: left\ntask: pouring\nevery: 3\n")
    command = ["extract", "here", "--out", str(tmp_path / "d.npz")]
    file = ["--config", str(tmp_path / "c.yaml")]
    assert run(capsys, *command) == "error: auto onion_sorting 1"
    assert run(capsys, *command, *file) == "error: left pouring 3"
    assert run(capsys, *command, *file, "--task", "onion_sorting", "--every", "1") == "error: left onion_sorting 1"


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_interrupt_leaves_no_broken_file(how: signal.Signals, tmp_path: Path) -> None:
    from visual_irl.io.recording import open_recording

    out = tmp_path / "recording"
    process = started(tmp_path, "record", str(out))
    deadline = time.monotonic() + 120
    while not (out.exists() and any(f.stat().st_size > 300_000 for f in out.glob("*.mcap"))):
        assert process.poll() is None and time.monotonic() < deadline, "the recording did not start"
        time.sleep(0.05)
    interrupted(process, how)
    assert not list(tmp_path.rglob("*partial*"))
    assert len(list(open_recording(out))) >= 1  # what was filmed until then opens


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("loaded", ["tyro", "torch"])  # what all verbs are made of, and what one of them is
def test_it_can_be_interrupted_while_it_loads(how: signal.Signals, loaded: str, tmp_path: Path) -> None:
    (tmp_path / f"{loaded}.py").write_text(f"import os\nos.kill(os.getpid(), {how:d})\n")
    process = started(tmp_path, "learn", "none.npz", path=tmp_path)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 128 + how and len(error.splitlines()) == 1 and "interrupted" in error, error


def heard(terminal: int) -> str:
    """What comes next; '' when whoever was at the other end has left."""
    try:
        return os.read(terminal, 4096).decode(errors="replace")
    except OSError:
        return ""


def test_interrupted_extraction_leaves_nothing(tmp_path: Path) -> None:
    source = ROOT / "models" / "recordings" / "onion_sorting"
    terminal, other_end = pty.openpty()  # where progress is shown at once
    termios.tcsetwinsize(other_end, (24, 160))
    process = started(tmp_path, "extract", str(source), "--out", str(tmp_path / "demo.npz"), stderr=other_end)
    os.close(other_end)
    shown = ""
    while not re.search(r"\d/\d+ \[", shown):  # the first frame is done: everything is loaded and compiled
        part = heard(terminal)
        assert part, f"the extraction did not start: {shown}"
        shown += part
    process.send_signal(signal.SIGINT)
    while part := heard(terminal):
        shown += part
    os.close(terminal)
    assert process.wait(60) == 130 and "interrupted" in shown and "Traceback" not in shown, shown
    assert not list(tmp_path.iterdir())


def test_truncated_recording_is_recovered_and_says_so(tmp_path: Path) -> None:
    from visual_irl.io.recording import open_recording
    from visual_irl.perception.cameras.sources import open_frames

    source = blank_recording(tmp_path / "whole", np.full((48, 64), 1.0, np.float32), frames=900)
    mcap = next(source.glob("*.mcap"))
    data = mcap.read_bytes()
    cut = tmp_path / "cut.mcap"
    cut.write_bytes(data[: int(0.6 * len(data))])
    recording = open_recording(cut)
    assert recording.recovered and 0 < len(list(recording)) < 900
    with open_frames(cut) as frames:
        assert frames.note == recording.recovered


def test_a_world_that_is_missing_or_was_never_seen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from visual_irl.robots import load_robot
    from visual_irl.types import JointTrajectory

    robot = load_robot("panda")
    q = np.tile(robot.home, (3, 1))
    trajectory = JointTrajectory(robot.joint_names, np.arange(3.0), q, 0 * q, np.full(3, 0.08))
    header = {"robot": "panda", "task": "onion_sorting", "T_world_base": np.eye(4), "objects": {}, "fixtures": {}, "held": []}
    artifacts.save_trajectory(tmp_path / "t.npz", trajectory, header)
    message = run(capsys, "replay", str(tmp_path / "t.npz"), "--world", str(tmp_path / "no.npz"), "--out", str(tmp_path / "r"))
    assert "no world at" in message
    message = run(capsys, "replay", str(tmp_path / "t.npz"), "--out", str(tmp_path / "r"))
    assert "a plain video?): where a table would be is not known" in message and not (tmp_path / "r").exists()
