"""Rules of the house that no linter checks: names, sizes, packaging, and who imports what."""

from __future__ import annotations

import ast
import importlib.metadata
import importlib.util
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from pipelines.route import ROUTE

REPOSITORY = Path(__file__).parents[1]
PACKAGES = ("schemas", "storage", "transforms", "pipelines", "trainer")

MOST_LINES = 400
BANNED_NAMES = {"utils", "util", "helpers", "helper", "manager", "base", "common", "misc"}

# Written apart, so that this file passes its own test.
REGISTRY_HOSTS = [
    ".".join(parts)
    for parts in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("npmjs", "org"),
        ("crates", "io"),
        ("conda", "anaconda", "org"),
    )
]

BLOCKED = {
    "schemas": ["apache_beam", "tensorflow", "torch", "jax", "flax", "google", "webdataset"],
    "trainer": ["apache_beam", "tensorflow", "torch", "transforms", "pipelines"],
}
"""What each package must do without."""

IMPORT_ALL = """
import importlib, pkgutil, sys

name, *blocked = sys.argv[1:]


class Blocker:
    def find_spec(self, fullname, path=None, target=None):
        if fullname.partition(".")[0] in blocked:
            raise AssertionError(f"{fullname} is imported")


sys.meta_path.insert(0, Blocker())
package = importlib.import_module(name)
for module in pkgutil.walk_packages(package.__path__, f"{name}."):
    try:
        importlib.import_module(module.name)
    except ModuleNotFoundError as error:
        # An extra that is not installed here.
        if error.name.partition(".")[0] not in ("jax", "flax", "optax", "orbax"):
            raise
    print(module.name)
"""


def tracked(*patterns: str) -> list[Path]:
    """Returns the files that git tracks and that are there, relative to the repository."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", *patterns]
    listed = subprocess.run(command, cwd=REPOSITORY, capture_output=True, check=True).stdout
    names = sorted(set(listed.decode().split("\0")) - {""})
    return [Path(name) for name in names if (REPOSITORY / name).is_file()]


def source_modules() -> list[Path]:
    return [path for name in PACKAGES for path in (REPOSITORY / name).rglob("*.py")]


@pytest.mark.parametrize("name", PACKAGES)
def test_a_package_name_is_ours_alone(name: str) -> None:
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.origin == str(REPOSITORY / name / "__init__.py")
    owners = importlib.metadata.packages_distributions().get(name, [])
    assert set(owners) <= {"mixwright"}, f"{owners} provides the package {name!r} too"


def test_no_folder_of_tests_is_a_package() -> None:
    assert not list((REPOSITORY / "tests").rglob("__init__.py"))


@pytest.mark.parametrize("name", PACKAGES)
def test_a_package_has_a_docstring_and_nothing_else(name: str) -> None:
    folders = {path.parent for path in (REPOSITORY / name).rglob("*.py")}
    for folder in sorted(folders):
        (statement,) = ast.parse((folder / "__init__.py").read_text(encoding="utf-8")).body
        assert isinstance(statement, ast.Expr), folder
        assert isinstance(statement.value, ast.Constant), folder
        assert isinstance(statement.value.value, str), folder


def test_no_module_is_named_after_nothing() -> None:
    named = [path for path in tracked("*.py") if BANNED_NAMES & {*path.parts[:-1], path.stem}]
    assert not named


def test_a_module_can_be_read_in_one_sitting() -> None:
    lines = {
        str(path.relative_to(REPOSITORY)): len(path.read_text(encoding="utf-8").splitlines())
        for path in source_modules()
    }
    assert {name: count for name, count in lines.items() if count > MOST_LINES} == {}
    assert sorted(lines.values())[len(lines) // 2] <= 160


@pytest.mark.parametrize("stage", [stage.name for stage in ROUTE])
def test_a_stage_only_wires(stage: str) -> None:
    path = REPOSITORY / "pipelines" / f"{stage}.py"
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        assert not isinstance(node, ast.ClassDef | ast.Lambda), f"{path.name}:{node.lineno}"
        if isinstance(node, ast.Attribute | ast.Name):
            name = node.attr if isinstance(node, ast.Attribute) else node.id
            assert name != "DoFn", f"{path.name}:{node.lineno}"


def test_no_file_names_a_package_registry() -> None:
    for path in tracked():
        data = (REPOSITORY / path).read_bytes().lower()
        named = [host for host in REGISTRY_HOSTS if host.encode() in data]
        assert not named, f"{path} names {named[0]}"


@pytest.mark.parametrize("name", BLOCKED)
def test_a_package_imports_without_what_it_must_not_need(name: str) -> None:
    command = [sys.executable, "-c", IMPORT_ALL, name, *BLOCKED[name]]
    result = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    modules = [path for path in (REPOSITORY / name).rglob("*.py") if path.stem != "__init__"]
    assert len(result.stdout.split()) >= len(modules)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Names of the files in the wheel, as it is built from this checkout."""
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=REPOSITORY, capture_output=True, check=True)
    (path,) = folder.glob("*.whl")
    return zipfile.ZipFile(path).namelist()


def test_the_wheel_installs_our_packages_and_nothing_else(wheel: list[str]) -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    metadata = f"mixwright-{project['version']}.dist-info"
    assert {name.partition("/")[0] for name in wheel} == {*PACKAGES, metadata}
    assert not [name for name in wheel if name.endswith((".pyc", ".orig", "~"))]


def test_the_wheel_holds_every_module_and_all_data(wheel: list[str]) -> None:
    modules = {str(path.relative_to(REPOSITORY)) for path in source_modules()}
    assert modules <= set(wheel)
    data = {str(path) for name in PACKAGES for path in tracked(f"{name}/*")} - modules
    assert {
        "pipelines/profiles/align-2021.toml",
        "pipelines/cards/templates/report.html.j2",
        "transforms/signals/data/lid.176.ftz",
        "transforms/signals/data/lid.176.LICENSE",
    } <= data
    assert data <= set(wheel)


def test_the_wheel_holds_the_demo(wheel: list[str]) -> None:
    demo = {
        f"pipelines/demo_data/{path.relative_to('examples/demo')}"
        for path in tracked("examples/demo/*")
    }
    assert "pipelines/demo_data/recipe.toml" in demo
    assert len(demo) > 400
    assert demo == {name for name in wheel if name.startswith("pipelines/demo_data/")}
