"""Names lead to plug-ins, and a wrong name or a missing package says the way out. Every registry loads every name."""

from __future__ import annotations

import dataclasses
import re
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from visual_irl import errors
from visual_irl.errors import InvalidInput, MissingDependency, UnknownName
from visual_irl.evaluation.episodes import EPISODES
from visual_irl.evaluation.episodes.closed_loop import Episodes
from visual_irl.execution import ARMS, GRIPPERS
from visual_irl.perception import CAMERAS, DETECTORS, OBJECT_DETECTORS
from visual_irl.perception.objects.detectors import ObjectDetector, ObjectsConfig
from visual_irl.planning import PLANNERS
from visual_irl.registry import Registry
from visual_irl.reward import LEARNERS, SITUATION_LEARNERS
from visual_irl.robots import ROBOTS
from visual_irl.skills import SKILLS
from visual_irl.tasks import PERFORMERS, RELATIONS, TASKS, load_task, part_of
from visual_irl.tasks.kinematic import KINEMATIC_TASKS, kinematic_task, require_sound
from visual_irl.tasks.kinematic_sorting import KinematicSorting
from visual_irl.tasks.onion_sorting import OnionSorting
from visual_irl.tasks.performer import Staging
from visual_irl.tasks.pick_place import PickPlace
from visual_irl.tasks.scene import Appearance, Fixture
from visual_irl.types import SIDES
from visual_irl.verbs.stages import describe, things_in

ALL = (
    ROBOTS, TASKS, RELATIONS, PERFORMERS, SKILLS, EPISODES, CAMERAS, DETECTORS, OBJECT_DETECTORS, KINEMATIC_TASKS, LEARNERS,
    SITUATION_LEARNERS, PLANNERS, ARMS, GRIPPERS,
)  # fmt: skip


@pytest.mark.parametrize(("registry", "name"), [(r, n) for r in ALL for n in r.names])
def test_every_registered_name_loads(registry: Registry, name: str) -> None:
    assert registry.load(name) is not None


@pytest.mark.parametrize("name", TASKS.names)
def test_every_task_has_what_every_verb_needs_of_it(name: str) -> None:
    """Contract of `record`, `extract`, `learn`, `map` and `evaluate` with a task."""
    task = load_task(name)
    for side in SIDES:
        performed = part_of(name, PERFORMERS)(task, Staging(seed=1, side=side, rate=5.0))
        demo = performed.demonstration
        assert demo.task == name and demo.side == side
        seen = task.scene_of(things_in(demo), demo.fixtures)
        assert {o.name for o in (*seen.objects, *seen.vessels)} == set(demo.objects)
    assert isinstance(ObjectsConfig().build(name), ObjectDetector)
    assert {"names", "stated", "of_stated"} <= set(dir(part_of(name, RELATIONS)))
    assert {"task", "save", "load", "learn", "ways"} <= set(dir(part_of(name, SKILLS)))
    assert isinstance(part_of(name, EPISODES)(task), Episodes)


WHITE, RED = (1.0, 1.0, 1.0, 1.0), (1.0, 0.0, 0.0)


def boxes(*at: tuple[str, float]) -> Callable[[PickPlace], tuple[Fixture, ...]]:
    """Boxes of these names and places along y [m]."""
    return lambda self: tuple(self.box(name, (0.1, y), WHITE) for name, y in at)


RIPE = {"name": "mine", "label": "apple", "attributes": ("ripe",), "fixtures": boxes(("a", 0.2), ("b", -0.4))}


def test_what_is_told_of_objects_without_an_attribute_is_their_name() -> None:
    things = {"onion_sorting": 1}
    shown = {n: part_of(n, PERFORMERS)(load_task(n), Staging(rate=2.0, things=things.get(n))) for n in TASKS.names}
    said = {n: describe(performed.demonstration) for n, performed in shown.items()}
    assert said["pouring"].endswith("right arm, frame 'world', objects: bottle, cup")
    assert re.search(r"objects: onion_0 \(blemished [01]\.00\)$", said["onion_sorting"])


@dataclasses.dataclass(frozen=True)
class Folding:
    """A task whose family nobody has written."""

    name, family, goals, detector = "folding", "folding", "shirts folded", ""
    for_side = succeeded = scene_of = None


@pytest.mark.parametrize("parts", [RELATIONS, PERFORMERS, SKILLS, EPISODES], ids=lambda r: r.kind)
def test_a_part_that_a_family_lacks_is_named_with_how_to_add_it(parts: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "my_folding", SimpleNamespace(Folding=Folding))
    monkeypatch.setitem(TASKS._table, "folding", ("my_folding:Folding", "-"))
    with pytest.raises(
        UnknownName, match=rf"'folding', which has no {parts.noun}: register .*visual_irl\.{parts.kind}`.*sorting"
    ):
        part_of("folding", parts)
    with pytest.raises(UnknownName, match=r"task 'folding' names no object detector: set `detector` in its class"):
        ObjectsConfig().build("folding")


@pytest.mark.parametrize(
    ("stated", "said"),
    [
        ({}, r"the task Mine lacks `name`, the name that it is registered as"),
        ({"name": "mine", "label": "thing"}, r'the task Mine lacks `attributes`, what decides .*`attributes = \("ripe",\)`'),
        ({"name": "mine", "label": "thing", "attributes": ()}, r"the task Mine lacks `fixtures`, its boxes .*self.box"),
        (
            {"name": "mine", "label": "a", "attributes": ("b", "c"), "fixtures": OnionSorting.fixtures,
             "bin_unblemished": (0.1, 0.2), "bin_blemished": (0.1, -0.4)},
            r"task 'mine' has 3 kinds of things \(plain, b, c\) and 2 fixtures .*one for each kind",
        ),
        (
            {"name": "other", "label": "a", "attributes": (), "fixtures": lambda self: (self.box("b", (0.0, 0.0), WHITE),)},
            r"registered as 'mine' and says name = 'other'",
        ),
        (RIPE | {"attributes": "ripe"}, r'attributes is the text "ripe"; write \("ripe",\)'),
        (RIPE | {"fixtures": boxes(("a", 0.2), ("a", -0.4))}, r"'mine' has two fixtures called 'a'"),
        (RIPE | {"fixtures": boxes(("a", 0.2), ("b", 0.05))}, r"'b' at \[0.1  0.05\] m stands in 'a' at \[0.1 0.2\] m"),
        (RIPE | {"goal": lambda self, has: "c" if has["ripe"] else "a"}, r"says 'c' for .*, which is none .* \(a, b\)"),
        (RIPE | {"appearance": Appearance(skins={"rype": RED})}, r"shows 'rype', which is none of its attributes \(ripe\)"),
        (
            RIPE | {"attributes": ("ripe", "old"), "fixtures": boxes(("a", 0.2), ("b", -0.2), ("c", -0.5)),
                    "appearance": Appearance(skins={"ripe": RED})},
            r"shows ripe and not 'old': nobody could tell",
        ),
        (RIPE | {"things": (4, 3)}, r"things is \(4, 3\): .* between 1 and 8"),
    ],
)  # fmt: skip
def test_a_sorting_task_that_lacks_something_is_told_what(
    stated: dict[str, object], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "mine", SimpleNamespace(Mine=type("Mine", (PickPlace,), stated)))
    monkeypatch.setitem(TASKS._table, "mine", ("mine:Mine", "-"))
    with pytest.raises(InvalidInput, match=said):
        load_task("mine")


def test_what_is_registered_as_a_task_and_is_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TASKS._table, "mine", ("types:SimpleNamespace", "-"))
    with pytest.raises(InvalidInput, match="SimpleNamespace lacks name, family, goals, detector, for_side"):
        load_task("mine")


@pytest.mark.parametrize("name", KINEMATIC_TASKS.names)
def test_the_parts_of_every_kinematic_task_fit_each_other(name: str) -> None:
    require_sound(name, kinematic_task(name))


@pytest.mark.parametrize(
    ("part", "wrong", "said"),
    [
        ("observation_size", 7, r"reset gives numbers of shape \(3, 9\), not \(3, 7\)"),
        ("attributes", 1, "attribute of split must be integers from 0 to 0"),
        ("success", lambda o: o[..., 0], r"success gives torch.float32, not bool"),
        ("true_reward", lambda o: o.sum() / 0, "true_reward gives numbers of shape"),
        ("true_reward", lambda o: o[..., 0] / 0, "true_reward gives NaN or infinity"),
        ("expert", lambda o: o, r"expert gives numbers of shape \(3, 9\), not \(3, 4\)"),
    ],
)
def test_a_kinematic_task_whose_parts_do_not_fit_is_told_which(part: str, wrong: object, said: str) -> None:
    task = type("Wrong", (KinematicSorting,), {part: wrong if isinstance(wrong, int) else staticmethod(wrong)})()  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match=f"kinematic task 'mine': .*{said}"):
        require_sound("mine", task)


@pytest.mark.parametrize("registry", ALL)
def test_unknown_name_lists_the_known(registry: Registry) -> None:
    with pytest.raises(UnknownName) as error:
        registry.load("nonesuch")
    assert all(name in str(error.value) for name in registry.names)


def test_missing_package_names_install_command() -> None:
    registry = Registry("things", {"x": ("a_package_that_is_not_there:X", 'pip install "thing[x]"')})
    with pytest.raises(MissingDependency, match=r'pip install "thing\[x\]"'):
        registry.load("x")


def test_every_message_spells_the_install_command_alike() -> None:
    assert errors.pip_install("ur") == '`pip install "visual-irl[ur]"`' and errors.pip_install() == '`pip install "visual-irl"`'
    extras = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    source, named = Path(errors.__file__).parent, set()
    for path in source.rglob("*.py"):
        text = path.read_text()
        assert path.name in ("errors.py", "assets.py") or "pip install" not in text, path  # assets: of a checkout
        named |= {extra for call in re.findall(r"""pip_install\(["']([\w,]+)["']\)""", text) for extra in call.split(",")}
    assert named == extras.keys() - {"dev"}


def test_taken_name_is_refused() -> None:
    registry = Registry("things", {"x": ("json:loads", "-")})
    with pytest.raises(InvalidInput, match="already registered"):
        registry.register("x", "json:dumps", "-")
