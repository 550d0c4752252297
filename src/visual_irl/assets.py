"""Files that come with the package and are not Python: robot descriptions, manifests."""

from __future__ import annotations

from pathlib import Path

from visual_irl.errors import MissingFile

PACKAGE = Path(__file__).resolve().parent


def asset_path(relative: str) -> Path:
    """Where an asset such as "urdf/panda.urdf" lies: in the installed package, else in the source checkout.

    Raises:
        MissingFile: neither place has it; names both.
    """
    places = _places(relative)
    for path in places:
        if path.exists():
            return path
    raise MissingFile(
        f"asset '{relative}' is neither at {places[0]} nor at {places[1]}: reinstall the package, or install the "
        "checkout with `pip install -e .`"
    )


def asset_target(relative: str) -> Path:
    """Where an asset that is made anew is written, so that `asset_path` finds it from any working folder.

    Raises:
        MissingFile: neither place has the folder for it; names both.
    """
    places = _places(relative)
    for path in places:
        if path.parent.is_dir():
            return path
    raise MissingFile(f"neither '{places[0].parent}' nor '{places[1].parent}' is there to write to: name a file with --out")


def _places(relative: str) -> tuple[Path, Path]:
    """In the installed package, and in the source checkout."""
    return PACKAGE / "assets" / relative, PACKAGE.parents[1] / relative
