"""Memory of runs of different lengths: `jaxcrystal sample` writes as it goes, and must not grow.

python -m benchmarks.long_run --like val.npz [--counts 500 2000 10000] [--steps-per-level 1]

Each run is a process of its own, with the structures of a file as orders, letters given. Its
largest resident memory is the kernel's account (`ru_maxrss`). Few Langevin steps: memory does
not depend on them.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.harness import save

_MAIN = "import sys; from jaxcrystal.cli import main; sys.exit(main(sys.argv[1:]))"


def main() -> None:
    """Prints a row for each count; writes `results/long_run.json`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--like", required=True, help="prepared structures")
    parser.add_argument("--counts", type=int, nargs="+", default=[500, 2000, 10_000], help="crystals")
    parser.add_argument("--steps-per-level", type=int, default=1, help="T")
    parser.add_argument("--name", default="long_run", help="of the file in results/")
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for count in arguments.counts:
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-c", _MAIN, "sample", "--like", arguments.like]
            command += ["--letters", "given", "--format", "json", "--count", str(count)]
            command += ["--steps-per-level", str(arguments.steps_per_level), "--out", f"{folder}/run"]
            started = time.perf_counter()
            with open(os.devnull, "w") as nowhere:
                process = subprocess.Popen(command, stdout=nowhere, stderr=nowhere)
                _, status, usage = os.wait4(process.pid, 0)
            if status:
                raise SystemExit(f"{' '.join(command)} failed with status {status}")
            parts = len(list(Path(folder, "run", "parts").iterdir()))
        row = {
            "structures": count,
            "parts": parts,
            "peak_mib": round(usage.ru_maxrss / 1024),
            "seconds": round(time.perf_counter() - started),
        }
        rows.append(row)
        print(f"{count:>7,} crystals: {row['peak_mib']:,} MiB at most, {row['seconds']} s", flush=True)
    save(arguments.name, {"arguments": vars(arguments) | {"like": Path(arguments.like).name}, "runs": rows})


if __name__ == "__main__":
    main()
