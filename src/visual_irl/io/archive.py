"""The arrays of an `.npz` file, of which nothing is executed."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
from numpy import ndarray

from visual_irl.errors import UnreadableFile


def arrays_of(path: Path) -> dict[str, ndarray]:
    """All arrays of a file that is there, by name.

    Raises:
        UnreadableFile: it is no `.npz`, or is cut short, or holds what is no array; says no more than that.
    """
    if not zipfile.is_zipfile(path):
        raise UnreadableFile("it is no .npz, or cut short")
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, TypeError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise UnreadableFile(str(error)) from error
