"""The wheel holds everything, and runs outside the checkout."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import jaxcrystal

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "jaxcrystal"

pytestmark = pytest.mark.cli


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the checkout without a network."""
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "--no-index", "--wheel-dir", folder, ROOT], check=True, cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package as pip installs it."""
    folder = tmp_path_factory.mktemp("installed")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*command, "--target", folder, wheel], check=True, cwd=folder)
    return folder


def _outside(installed: Path, *arguments: str | Path) -> str:
    """Runs Python outside the checkout, the installed package first on its path."""
    environment = {**os.environ, "PYTHONPATH": str(installed), "PYTHONSAFEPATH": "1"}
    command = [sys.executable, *arguments]
    run = subprocess.run(command, capture_output=True, text=True, cwd=installed.parent, env=environment)
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_wheel_holds_every_file_of_the_package(wheel: Path) -> None:
    expected = {
        path.relative_to(ROOT).as_posix()
        for path in PACKAGE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    with zipfile.ZipFile(wheel) as archive:
        found = {name for name in archive.namelist() if not name.split("/")[0].endswith(".dist-info")}
    assert found == expected


def test_wheel_runs_outside_the_checkout(installed: Path) -> None:
    script = (
        "import jaxcrystal; print(jaxcrystal.__file__, jaxcrystal.__version__, jaxcrystal.Crystal.__name__)"
    )
    module, version, name = _outside(installed, "-W", "error", "-c", script).split()
    assert Path(module).is_relative_to(installed)
    assert (version, name) == (jaxcrystal.__version__, "Crystal")


def test_installed_command_prints_its_help(installed: Path) -> None:
    assert "sample" in _outside(installed, installed / "bin" / "jaxcrystal", "--help")


def test_installed_command_samples_with_its_own_model(installed: Path, tmp_path: Path) -> None:
    order = ["--space-group", "221", "--sites", "Cs=1,Cl=1", "--count", "2", "--steps-per-level", "1"]
    _outside(installed, installed / "bin" / "jaxcrystal", "sample", *order, "--out", tmp_path / "out")
    assert len((tmp_path / "out" / "summary.csv").read_text().splitlines()) == 3
