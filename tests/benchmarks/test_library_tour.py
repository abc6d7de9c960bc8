"""Runs the tour of the library with tiny sizes, in a process of its own with two devices.

A tiny network stands for the bundled one, and the prepared prototypes for their source.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

NOTEBOOK = Path(__file__).parents[2] / "benchmarks" / "library_tour.ipynb"


def _cells(kind: str = "code") -> list[str]:
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if kind in ("any", cell["cell_type"])]


def test_parts_are_short() -> None:
    """Twenty lines of code below each of the five headings."""
    lines: list[int] = []
    for cell in _cells("any"):
        if cell.startswith("## "):
            lines.append(0)
        elif lines:
            lines[-1] += len([line for line in cell.splitlines() if line.strip()])
    assert len(lines) == 5
    assert max(lines) <= 20


def test_the_tour_runs(tmp_path, tiny_model, aflow_report) -> None:
    tiny_model.save(tmp_path / "tiny")
    script = tmp_path / "tour.py"
    # As a file with a guard, since processes that it starts import it.
    body = "\n".join(f"    {line}" for cell in _cells() for line in cell.splitlines())
    for given, used in (
        ("load_model()", f"load_model({str(tmp_path / 'tiny')!r})"),
        ('load_or_prepare("aflow")', f"load_or_prepare({str(aflow_report.out)!r})"),
        ("DataConfig(max", f"DataConfig({str(aflow_report.out)!r}, max"),
    ):
        assert body.count(given) == 1
        body = body.replace(given, used)
    script.write_text(f"if __name__ == '__main__':\n{body}\n", encoding="utf-8")
    environment = os.environ | {
        "JAXCRYSTAL_TOUR": "tiny",
        "JAX_PLATFORMS": "cpu",
        "JAX_NUM_CPU_DEVICES": "2",
        "PYTHONPATH": str(NOTEBOOK.parents[1]),
    }
    done = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "update 2: mean absolute error" in done.stdout
    assert "8 crystals on" in done.stdout
