"""Is Afina as fast as it was? One LoRA run and a study of nine methods, at an earlier revision and now, in turns.

    python benchmarks/beside_revision.py ff9e5f5 --data ../shared/data/ag_news --rounds 3

The earlier revision is checked out into a temporary worktree and run by this environment's packages. Each side runs
its own benchmarks' code: `lora_speed.py --only afina` and `afina-fp32`, and `cohort.py --no-peers`, all in processes of
their own. Figures are medians over rounds; the load of the machine is recorded with them, and processor time stands
beside the wall clock, as other programs change it less.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from record import write_record

HERE = Path(__file__).resolve().parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("revision", help="what git calls the earlier state")
    parser.add_argument("--data", type=Path, required=True, help="folder with train.parquet and test.parquet")
    parser.add_argument("--rows", type=int, default=1200, help="of one run; a study takes a quarter of them")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    load = os.getloadavg()[0]
    with earlier(options.revision) as before:
        measured = [
            {side: measure(tree, options) for side, tree in (("before", before), ("now", HERE))}
            for _ in range(options.rounds)
        ]
    figures = {
        name: {side: median(one[side][name] for one in measured) for side in ("before", "now")}
        for name in measured[0]["now"]
    }
    print(f"{'':28}{'before':>10}{'now':>10}{'now / before':>14}")
    for name, value in figures.items():
        print(f"{name:28}{value['before']:10.1f}{value['now']:10.1f}{value['now'] / value['before']:14.2f}")
    if options.out:
        write_record(options.out, revision=options.revision, load=load, rounds=measured, figures=figures)


@contextmanager
def earlier(revision: str) -> Iterator[Path]:
    """Check the revision out into a folder that is removed afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        git = ["git", "-C", str(HERE), "worktree"]
        subprocess.run([*git, "add", "--detach", str(tree), revision], check=True, capture_output=True)
        try:
            yield tree
        finally:
            subprocess.run([*git, "remove", "--force", str(tree)], check=True)


def measure(tree: Path, options: argparse.Namespace) -> dict[str, float]:
    """Return what one round of a side took: examples a second of single runs, seconds of studies."""
    figures: dict[str, float] = {}
    for name in ("afina", "afina-fp32"):
        command = ["lora_speed.py", "--only", name, "--data", str(options.data), "--rows", str(options.rows)]
        output, _ = run(tree, command)
        figures[f"{name}, examples/s"] = json.loads(output.strip().splitlines()[-1])["examples_per_second"]
    command = ["cohort.py", "--no-peers", "--data", str(options.data), "--rows", str(options.rows // 4), "--seeds", "1"]
    output, processor = run(tree, command)
    for name, seconds in re.findall(r"^nine, ([a-z ]+?) +([\d.]+) s", output, re.MULTILINE):
        figures[f"nine methods, {name}, s"] = float(seconds)
    return figures | {"nine methods, both, CPU s": processor}


def run(tree: Path, command: list[str]) -> tuple[str, float]:
    """Run a benchmark of a tree; return what it printed and the processor's seconds."""
    script, *rest = command
    environment = os.environ | {"PYTHONPATH": str(tree / "src")}
    before = processor_of_children()
    done = subprocess.run(
        [sys.executable, str(tree / "benchmarks" / script), *rest], capture_output=True, text=True, env=environment
    )
    if done.returncode:
        sys.exit(f"{' '.join(command)} in {tree} failed:\n{done.stdout}\n{done.stderr}")
    return done.stdout, processor_of_children() - before


def processor_of_children() -> float:
    """Return the processor time of all processes that this one started and that have ended, in seconds."""
    used = os.times()
    return used.children_user + used.children_system


if __name__ == "__main__":
    main()
