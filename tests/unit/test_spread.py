"""Work on many inputs: on a Ray cluster that is started here, with a worker that is killed, and where there is none."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from visual_irl.errors import ClusterUnreachable, InvalidInput, MissingDependency
from visual_irl.evaluation.spread import spread

SCRIPT = """
import os, signal, sys, time
from pathlib import Path
from visual_irl.errors import LearningFailed
from visual_irl.evaluation.spread import spread

def square(n, folder):
    at_work = Path(folder) / str(os.getpid())
    at_work.touch()
    killed = Path(folder) / "killed"
    if n == 1 and not killed.exists():
        killed.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if n == 5:
        raise LearningFailed("five diverged")
    return n * n

print(sorted(spread(square, [(n, sys.argv[1]) for n in range(5)], workers=2, address="local")))
try:
    list(spread(square, [(5, sys.argv[1])], address="local"))
except LearningFailed as error:
    print("error:", error)
"""


def test_a_killed_worker_of_a_cluster_loses_no_result_and_an_error_comes_back(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    script, marks = tmp_path / "script.py", tmp_path / "marks"
    script.write_text(SCRIPT)
    marks.mkdir()
    home = os.environ | {"HOME": str(tmp_path)}  # where Ray leaves a token
    done = subprocess.run([sys.executable, str(script), str(marks)], capture_output=True, text=True, timeout=220, env=home)
    assert done.returncode == 0, done.stderr
    assert "[(0, 0), (1, 1), (2, 4), (3, 9), (4, 16)]" in done.stdout and "error: five diverged" in done.stdout
    assert (marks / "killed").exists() and len(list(marks.iterdir())) >= 3  # that mark, the dead process and one more


def test_what_cannot_work_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidInput, match="0 workers"):
        spread(abs, [(-1,)], workers=0)
    with pytest.raises(ClusterUnreachable, match="ray start --head"):
        list(spread(abs, [(-1,)], address="127.0.0.1:1"))
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingDependency, match=r"visual-irl\[cluster\]"):
        list(spread(abs, [(-1,)], address="10.0.0.1:6379"))


BUSY = """
import os, sys, time
from pathlib import Path
from visual_irl.evaluation.spread import spread

def work(file):
    Path(file).write_text(str(os.getpid()))
    time.sleep(300.0)

if __name__ == "__main__":
    list(spread(work, [(file,) for file in sys.argv[1:]], workers=2))
"""


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_workers_end_with_the_process_that_began_them(end: signal.Signals, tmp_path: Path) -> None:
    """Ctrl-C goes to all processes of a terminal, and is not waited for; a killed process can tell its workers nothing."""
    script, files = tmp_path / "busy.py", [tmp_path / "a", tmp_path / "b"]
    script.write_text(BUSY)
    process = subprocess.Popen(
        [sys.executable, str(script), *map(str, files)], stderr=subprocess.PIPE, text=True, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    until(lambda: all(file.exists() and file.read_text() for file in files), 120.0)
    workers = [Path("/proc") / file.read_text() for file in files]
    if end == signal.SIGINT:
        os.killpg(process.pid, end)
    else:
        process.send_signal(end)
    assert process.wait(timeout=60) == -end
    until(lambda: not any(worker.exists() for worker in workers), 60.0)
    assert process.stderr and "SpawnProcess" not in process.stderr.read()  # a worker's traceback


def until(done: Callable[[], bool], most: float) -> None:
    deadline = time.monotonic() + most
    while not done():
        assert time.monotonic() < deadline, "it does not come to that"
        time.sleep(0.05)
