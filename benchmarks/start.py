"""Seconds from the start of `jaxcrystal sample` to its first Langevin step, without and with stored programs.

python -m benchmarks.start [--runs 5]

Each run is a process of its own. The first has an empty cache of compiled programs (JAXCRYSTAL_CACHE),
the others that which it left. The clock of "to sampling" starts when the command's modules are imported.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile

import numpy as np

from benchmarks.harness import save

_ORDER = ["--space-group", "Pnma", "--wyckoff", "Ca=c,Ti=b,O=cd", "--count", "16"]
_CHILD = """
import json, sys, time
began = time.perf_counter()
from jaxcrystal import cli
from jaxcrystal.commands import sample
from jaxcrystal.sampling import programs
imported = time.perf_counter()
moments, get = [], programs.Programs.__getitem__
def told(self, shape):
    program = get(self, shape)
    moments.append(time.perf_counter())
    return program
programs.Programs.__getitem__ = told
cli.main(sys.argv[1:])
print(json.dumps({"import": imported - began, "to sampling": moments[0] - imported,
                  "whole": time.perf_counter() - began}))
"""


def main() -> None:
    """Prints a row for the first and one for the later runs; writes `results/start.json`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=5, help="with stored programs")
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as folder:
        found = [_run(folder, number) for number in range(runs + 1)]
    later = {name: round(float(np.median([run[name] for run in found[1:]])), 2) for name in found[0]}
    results = {"first": found[0], f"median of {runs} later": later}
    for label, row in results.items():
        print(f"{label:<18}", *(f"{name} {seconds:.2f} s" for name, seconds in row.items()))
    print(f"written to {save('start', {'order': _ORDER, 'seconds': results})}")


def _run(folder: str, number: int) -> dict[str, float]:
    command = [sys.executable, "-c", _CHILD, "sample", *_ORDER, "--out", f"{folder}/out{number}"]
    environment = os.environ | {"JAXCRYSTAL_CACHE": f"{folder}/cache"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return {name: round(s, 2) for name, s in json.loads(done.stdout.splitlines()[-1]).items()}


if __name__ == "__main__":
    main()
