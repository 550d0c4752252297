"""Work on many inputs: on a Ray cluster that is started here, with a worker that is killed, and where there is none."""

from __future__ import annotations

import os
import subprocess
import sys
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


@pytest.mark.timeout(240)
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
