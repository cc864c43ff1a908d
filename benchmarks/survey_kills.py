"""Kill a survey again and again at random moments: what it comes to is, to the last bit, what an unbroken one gives.

    python benchmarks/survey_kills.py --kills 20 --data FOLDER [--model SPEC] [--seed 0]

Each time the process gets SIGKILL after a random part, up to a half, of the time that an unbroken run worked in its
folder, and is started again with ``--resume``; where it ends before the kills are used up, it begins again. Every table
but ``runs``, and every file, is compared.
"""

import argparse
import json
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

from convscope.store.atlas_folder import lock_of
from convscope.store.schema import TABLES


def contents(atlas: Path) -> dict[str, Any]:
    """Every table but ``runs``, and every other file of the atlas but its manifest, which lists the runs."""
    with closing(sqlite3.connect(atlas / "atlas.sqlite")) as base:
        found: dict[str, Any] = {
            name: base.execute(f"SELECT * FROM {name} ORDER BY {', '.join(keys)}").fetchall()
            for name, (_, keys) in TABLES.items()
            if name != "runs"
        }
    others = [p for p in sorted(atlas.rglob("*")) if p.is_file() and p.name not in ("atlas.sqlite", "manifest.json")]
    return found | {path.relative_to(atlas).as_posix(): path.read_bytes() for path in others}


def stage_of(atlas: Path) -> str:
    """How far a killed run had come, from what it left."""
    try:
        state = json.loads((atlas / "manifest.json").read_text())["state"]
    except OSError:
        return "nothing yet"
    if state == "finished":
        return "finished"
    if not (atlas / "plan.json").exists():
        return "planning"
    if (atlas / ".atlas.sqlite.new").exists():
        return "reducing or cutting"
    return "tables in place" if (atlas / "atlas.sqlite").exists() else "computing parts"


def run(command: list[str], atlas: Path, killed_after: float | None = None) -> tuple[int, float]:
    """The exit code, -9 where it was killed, and the seconds since it held the atlas's folder."""
    process = subprocess.Popen(
        [*command, "--out", str(atlas), "--resume"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    while not lock_of(atlas).exists() and process.poll() is None:
        time.sleep(0.002)
    began = time.monotonic()
    try:
        _, said = process.communicate(timeout=killed_after)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
        lock_of(atlas).unlink(missing_ok=True)  # nobody holds it: only this script looks whether it is there
        return -signal.SIGKILL, time.monotonic() - began
    if process.returncode not in (0, 1):
        raise SystemExit(said)
    return process.returncode, time.monotonic() - began


def kill_and_compare(command: list[str], folder: Path, kills: int, seed: int) -> Counter[str]:
    """Where the kills fell. Raises SystemExit where the atlases differ."""
    drawn, stages = random.Random(seed), Counter[str]()
    _, seconds = run(command, folder / "whole.atlas")
    broken = folder / "broken.atlas"
    while stages.total() < kills:
        code, _ = run(command, broken, drawn.uniform(0, 0.5) * seconds)
        if code < 0:
            stages[stage_of(broken)] += 1
            print(f"kill {stages.total()}: {stage_of(broken)}", file=sys.stderr, flush=True)
        elif stages.total() < kills:  # it ended before all kills were used: again from the beginning
            compare(broken, folder / "whole.atlas")
            shutil.rmtree(broken)
    run(command, broken)
    compare(broken, folder / "whole.atlas")
    return stages


def compare(one: Path, other: Path) -> None:
    first, second = contents(one), contents(other)
    differing = [name for name in first.keys() | second.keys() if first.get(name) != second.get(name)]
    if differing:
        raise SystemExit(f"{len(differing)} tables or files differ: {', '.join(sorted(differing)[:8])}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--data", required=True)
    parser.add_argument("--model")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("options", nargs="*", help="further options of survey, after --")
    given = parser.parse_args()
    command = [sys.executable, "-m", "convscope", "survey", given.data, *given.options]
    command += ["--model", given.model] if given.model else []
    with tempfile.TemporaryDirectory() as folder:
        stages = kill_and_compare(command, Path(folder), given.kills, given.seed)
    print(f"{stages.total()} kills, equal to the last bit; killed while: ", end="")
    print(", ".join(f"{stage} {count}" for stage, count in stages.most_common()))


if __name__ == "__main__":
    main()
