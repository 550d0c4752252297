"""A configuration file changes what it names, nested too; a typo or a wrong type is said with its place."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from visual_irl.config import load_config
from visual_irl.errors import InvalidInput, MissingFile, UnknownName, UnreadableFile
from visual_irl.io.artifacts import write_sidecar
from visual_irl.mapping.retarget import AT_WORK, RetargetConfig
from visual_irl.perception.extraction import ExtractionConfig


def written(folder: Path, text: str) -> Path:
    (folder / "c.yaml").write_text(text)
    return folder / "c.yaml"


def test_no_file_gives_the_defaults() -> None:
    assert load_config(RetargetConfig(), None) == RetargetConfig()


@pytest.mark.parametrize("defaults", [RetargetConfig(), AT_WORK])
def test_only_what_is_named_changes_also_nested(tmp_path: Path, defaults: RetargetConfig) -> None:
    config = load_config(defaults, written(tmp_path, "rate: 50\noffline:\n  margin: 0.01\n  smooth: {iterations: 7}\n"))
    expected = dataclasses.replace(defaults, rate=50.0)
    smooth = expected.offline.smooth._replace(iterations=7)
    assert config == dataclasses.replace(expected, offline=dataclasses.replace(expected.offline, margin=0.01, smooth=smooth))


def test_tuples_have_their_length_checked(tmp_path: Path) -> None:
    config = load_config(ExtractionConfig(), written(tmp_path, "objects: {onions: {hue: [10, 50]}}"))
    assert config.objects.onions.hue == (10.0, 50.0)
    with pytest.raises(InvalidInput, match=r"hue is .* expected 2 values"):
        load_config(ExtractionConfig(), written(tmp_path, "objects: {onions: {hue: [10, 50, 60]}}"))


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("offlin: {}", UnknownName, "no field 'offlin'; it has: offline, speed_share"),
        ("offline: {smooth: {iterations: many}}", InvalidInput, "smooth: iterations is 'many' .str., expected int"),
        ("offline: {costs: {limb: 1}}", UnknownName, "BranchCosts has no field 'limb'; it has: upper, fore"),
        ("offline: {margin: soft}", InvalidInput, "offline: margin is 'soft', expected a number"),
        ("offline: 3", InvalidInput, "expected a mapping of the fields of OfflineConfig"),
        ("elbow_up: 1", InvalidInput, "expected bool"),
        ("a: [", UnreadableFile, "not YAML"),
    ],
)
def test_mistakes_are_said_with_their_place(tmp_path: Path, text: str, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        load_config(RetargetConfig(), written(tmp_path, text))


def test_a_value_that_the_configuration_refuses(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="every is 99"):
        load_config(ExtractionConfig(), written(tmp_path, "every: 99"))


def numbers(config: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], float]]:
    """Every number of a configuration, with the names that lead to it."""
    fields = (
        config._asdict()
        if hasattr(config, "_asdict")
        else {f.name: getattr(config, f.name) for f in dataclasses.fields(config)}
    )
    for name, value in fields.items():
        if dataclasses.is_dataclass(value) or hasattr(value, "_asdict"):
            yield from numbers(value, (*path, name))
        elif type(value) in (int, float):
            yield (*path, name), value


@pytest.mark.parametrize("kind", [ExtractionConfig, RetargetConfig])
def test_no_number_of_a_stage_may_be_absurd(tmp_path: Path, kind: type) -> None:
    tried = 0
    for path, default in numbers(kind()):
        for absurd in (-(10**9), 10**9) if type(default) is int else (".nan", ".inf", -1e9, 1e9):
            text = "".join(f"{'  ' * i}{name}:\n" for i, name in enumerate(path))
            with pytest.raises(InvalidInput, match=rf"c\.yaml.*{path[-1]} is"):
                load_config(kind(), written(tmp_path, f"{text.rstrip()} {absurd}\n"))
            tried += 1
    assert tried > 100


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(MissingFile, match="--config"):
        load_config(RetargetConfig(), tmp_path / "none.yaml")


@pytest.mark.parametrize("config", [ExtractionConfig(every=3), RetargetConfig(rate=77.0)])
def test_a_sidecar_gives_its_configuration_back(tmp_path: Path, config: object) -> None:
    (tmp_path / "a").write_text("")
    write_sidecar(tmp_path / "a", config, {})
    assert load_config(type(config)(), tmp_path / "a.json") == config


def test_lists_of_components_may_have_any_length(tmp_path: Path) -> None:
    text = "objects: {vessels: {classes: [{label: jar, radius: [0.02, 0.09], height: [0.05, 0.3], slenderness: [0.5, 3]}]}}"
    (jar,) = load_config(ExtractionConfig(), written(tmp_path, text)).objects.vessels.classes
    assert jar.label == "jar" and jar.slenderness == (0.5, 3.0)
    with pytest.raises(InvalidInput, match=r"classes is .* expected a list"):
        load_config(ExtractionConfig(), written(tmp_path, "objects: {vessels: {classes: 3}}"))
