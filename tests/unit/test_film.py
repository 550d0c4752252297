"""A film on a disk that fills up."""

from __future__ import annotations

import resource
from pathlib import Path

import numpy as np
import pytest

from visual_irl.errors import UnwritableOutput
from visual_irl.evaluation.pictures import Mp4Writer


@pytest.mark.parametrize("frames", [1, 200])
def test_a_film_that_has_no_room_is_named_and_nothing_of_it_stays(tmp_path: Path, frames: int) -> None:
    """Found out when it is closed, or on the way."""
    rng, limits = np.random.default_rng(0), resource.getrlimit(resource.RLIMIT_FSIZE)
    with pytest.raises(UnwritableOutput, match=r"cannot write '.*/replay\.mp4': File too large"):
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
        try:
            with Mp4Writer(tmp_path / "replay.mp4", 25, 320, 240) as film:
                for _ in range(frames):
                    film.write(rng.integers(0, 256, (240, 320, 3), dtype=np.uint8))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list(tmp_path.iterdir())
