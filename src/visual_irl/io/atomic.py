"""Write a file completely or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from visual_irl.errors import UnwritableOutput


def require_writable_folder(folder: Path, option: str = "--out") -> Path:
    """Create `folder` if needed and prove that a file can be written there, before any long work starts.

    `option` is what a user names the place with.

    Raises:
        UnwritableOutput: it is a file, or cannot be made or written to.
    """
    folder = Path(folder)
    if folder.is_file():
        raise UnwritableOutput(f"cannot write to '{folder}': it is a file; choose another {option}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UnwritableOutput(f"cannot write to '{folder}': {error.strerror or error}; choose another {option}") from error
    return folder


def require_writable_file(path: Path, option: str = "--out") -> None:
    """Prove that `path` can be written, before any long work starts; its folder is made.

    `option` is what a user names it with.

    Raises:
        UnwritableOutput: it is a folder, or its own folder cannot be made or written to.
    """
    if Path(path).is_dir():
        raise UnwritableOutput(f"cannot write '{path}': it is a folder; name a file in it")
    require_writable_folder(Path(path).parent, option)


@contextmanager
def atomic_path(path: Path, option: str = "place") -> Iterator[Path]:
    """A temporary sibling of `path` to write to; it replaces `path` when the block ends, and vanishes when it raises.

    `option` is what a user names the place with.

    Raises:
        UnwritableOutput: the folder cannot be written to or the disk is full.
    """
    path = Path(path)
    require_writable_folder(path.parent, option)
    partial = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    try:
        yield partial
        os.replace(partial, path)
    except OSError as error:
        if error.filename is None and error.errno is None:
            raise  # an error of ours that happens to be an OSError
        raise UnwritableOutput(f"cannot write '{path}': {error.strerror or error}; choose another {option}") from error
    finally:
        partial.unlink(missing_ok=True)
