"""The architecture holds: import contracts, a light package, no grab-bags."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "mediapipe", "cv2", "mujoco", "pinocchio", "matplotlib", "scipy")


def heavy_modules_after(statement: str) -> set[str]:
    code = f"{statement}\nimport sys\nprint(*[m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_import_is_light() -> None:
    assert heavy_modules_after("import visual_irl") == set()


def test_the_light_test_can_fail() -> None:
    assert "scipy" in heavy_modules_after("import visual_irl, scipy")


def test_help_is_light() -> None:
    assert heavy_modules_after("import visual_irl.cli") <= {"scipy"}


@pytest.mark.parametrize("module", ["stages", "map_stage"])
def test_what_needs_no_network_does_not_wait_for_torch(module: str) -> None:
    assert "torch" not in heavy_modules_after(f"import visual_irl.verbs.{module}")


def test_import_contracts() -> None:
    lint = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([str(lint)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", sorted((ROOT / "src").rglob("*.py")), ids=lambda p: str(p.relative_to(ROOT / "src")))
def test_no_module_is_a_grab_bag(path: Path) -> None:
    assert path.stem not in {"utils", "util", "helpers", "misc", "common", "tools"}
    assert len(path.read_text().splitlines()) <= 450
    assert path.read_text().startswith('"""'), "every module says its one idea first"


def test_every_package_that_is_installed_for_the_tests_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = {name: rows for name, rows in project["optional-dependencies"].items() if name != "peers"}
    wanted = {normal(row) for rows in (project["dependencies"], *extras.values()) for row in rows} - {"visual-irl"}
    pinned = [normal(row) for row in (ROOT / "constraints.txt").read_text().splitlines()]
    assert wanted - set(pinned) == set()
    assert len(pinned) == len(set(pinned))


# a package whose import is called otherwise than it
PACKAGE_OF = {
    "PIL": "pillow", "cv2": "opencv-contrib-python", "pinocchio": "pin", "rtde_control": "ur-rtde", "rtde_receive": "ur-rtde",
    "yaml": "pyyaml",
}  # fmt: skip
# what alone may need an extra: a file of src/visual_irl, or several that begin so
NEEDED_BY = {
    "bench": "evaluation/", "cluster": "evaluation/spread.py", "dev": "none", "franka": "execution/franka_",
    "onnx": "perception/objects/onnx_objects.py", "peers": "evaluation/benchmarks/irl_peers.py",
    "realsense": "perception/cameras/realsense.py", "ur": "execution/ur_arm.py", "view": "verbs/view_page.py",
}  # fmt: skip


def imported_packages(path: Path) -> set[str]:
    """Packages of an index that a file imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    tops = {name.split(".")[0] for name in names} - set(sys.stdlib_module_names) - {"visual_irl"}
    return {PACKAGE_OF.get(top, normal(top)) for top in tops}


def test_what_is_imported_is_declared_and_the_other_way_round() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    always = {normal(row) for row in project["dependencies"]}
    extras = {name: {normal(row) for row in rows} for name, rows in project["optional-dependencies"].items()}
    assert extras.keys() == NEEDED_BY.keys()
    package, used = ROOT / "src/visual_irl", set()
    for path in sorted(package.rglob("*.py")):
        file, imported = path.relative_to(package).as_posix(), imported_packages(path)
        here = set().union(*(rows for name, rows in extras.items() if file.startswith(NEEDED_BY[name])))
        assert imported <= always | here, f"{file} imports {sorted(imported - always - here)}, undeclared"
        used |= imported
    assert always - used == set()


def normal(requirement: str) -> str:
    """The name of a package, as an index compares it."""
    return re.sub(r"[-_.]+", "-", re.split(r"[\[<>=!~; ]", requirement)[0]).lower()


def compiled_inside(tree: ast.Module) -> set[str]:
    """Names of the functions of a module that only compiled code may call."""
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    return {f.name for f in functions if any("INSIDE" in ast.unparse(decorator) for decorator in f.decorator_list)}


def called_from_python(tree: ast.Module, names: set[str]) -> set[str]:
    """Which of `names` a module mentions outside of functions that numba compiles."""
    if isinstance(tree, ast.FunctionDef) and any("njit" in ast.unparse(decorator) for decorator in tree.decorator_list):
        return set()
    own = {tree.id} & names if isinstance(tree, ast.Name) else set()
    return own.union(*(called_from_python(child, names) for child in ast.iter_child_nodes(tree)))


def test_what_is_compiled_for_compiled_code_is_not_called_from_python() -> None:
    texts = {path: path.read_text() for folder in ("src", "tests") for path in (ROOT / folder).rglob("*.py")}
    modules = {
        path: ".".join(path.relative_to(ROOT / "src").with_suffix("").parts)
        for path in texts
        if path.is_relative_to(ROOT / "src")
    }
    inside = {name: compiled_inside(ast.parse(texts[path])) for path, name in modules.items() if "**INSIDE" in texts[path]}
    assert "follow_ideal" in inside["visual_irl.mapping.ideal_arm"]
    for path, text in texts.items():
        imports = [module for module in inside if f"from {module} import" in text]
        if not imports and modules.get(path) not in inside:
            continue
        tree, names = ast.parse(text), set(inside.get(modules.get(path, ""), ()))
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                names |= {alias.name for alias in node.names} & inside.get(node.module or "", set())
        assert not called_from_python(tree, names), path


def test_a_call_from_python_would_be_found() -> None:
    tree = ast.parse("@njit(**LEAN)\ndef f(q):\n    land(q)\n\ndef g(q):\n    place(q)\n")
    assert called_from_python(tree, {"land", "place"}) == {"place"}
