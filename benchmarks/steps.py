"""Jobs of 10 trivial async steps: ourselves, DBOS and a bare group-commit loop in one run.

`python -m benchmarks.steps [--check] [--quick]`; DBOS comes with `pip install --group bench`.
Contenders take turns, three rounds, each in a process of its own; the table shows medians.
`--check` leaves with 1 when a floor is missed, and names it.
"""

import json
import statistics
import subprocess
import sys
from typing import Any, Final

STEPS: Final = 10
CONTENDERS: Final = (
    "aetheris:unsafe", "aetheris:pure", "dbos:default", "dbos:wal", "bare:group", "bare:each",
)  # fmt: skip
FLIGHTS: Final = (1, 10, 100, 1000)
JOBS: Final = {
    "aetheris": {1: 400, 10: 2_000, 100: 4_000, 1000: 4_000},
    "dbos": {1: 60, 10: 60, 100: 120, 1000: 1_000},
    "bare": {1: 600, 10: 3_000, 100: 6_000, 1000: 6_000},
}
COLUMNS: Final = ("steps_s", "p50_ms", "p99_ms", "cpu_us", "commits_s", "bytes", "peak_mb")
Table = dict[tuple[str, int], dict[str, float]]


def measure(name: str, flight: int, jobs: int, steps: int) -> dict[str, Any]:
    """Run one contender in a process of its own."""
    words = [sys.executable, "-m", "benchmarks.contenders", name, *map(str, (flight, jobs, steps))]
    done = subprocess.run(words, capture_output=True, text=True, timeout=900, check=False)
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stderr[-2_000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def table(*, quick: bool) -> Table:
    """Measure everything, in turns."""
    rounds, seen = 1 if quick else 3, {}
    for _ in range(rounds):
        for flight in FLIGHTS:
            for name in CONTENDERS:
                jobs = JOBS[name.partition(":")[0]][flight]
                sys.stderr.write(f"\r{name} at {flight}          ")
                jobs = max(jobs // 4, min(flight, jobs)) if quick else jobs
                found = measure(name, flight, jobs, STEPS)
                seen.setdefault((name, flight), []).append(found)
    sys.stderr.write("\n")
    return {
        key: {column: statistics.median(one.get(column, 0) for one in many) for column in COLUMNS}
        for key, many in seen.items()
    }


def show(found: Table) -> None:
    """Print the table, with ratios against DBOS as it comes."""
    sys.stdout.write("| in flight | what | steps/s | against DBOS | p50 ms | p99 ms | CPU µs/step ")
    sys.stdout.write("| commits/s | bytes/step | peak MB |\n|" + "---|" * 10 + "\n")
    for (name, flight), row in sorted(found.items(), key=lambda item: item[0][1]):
        ratio = row["steps_s"] / found["dbos:default", flight]["steps_s"]
        sys.stdout.write(
            f"| {flight} | {name} | {row['steps_s']:,.0f} | {ratio:.1f}x | {row['p50_ms']:.1f} "
            f"| {row['p99_ms']:.1f} | {row['cpu_us']:.0f} | {row['commits_s']:,.0f} "
            f"| {row['bytes']:,.0f} | {row['peak_mb']:.0f} |\n"
        )


def verdicts(found: Table, growth: float, memory: float) -> list[tuple[str, float, float, bool]]:
    """Give each floor: what it is about, what was measured, the floor, and whether it holds."""

    def ratio(name: str, flight: int) -> float:
        return found[name, flight]["steps_s"] / found["dbos:default", flight]["steps_s"]

    at_least = [
        ("unsafe, 100 in flight, against DBOS", ratio("aetheris:unsafe", 100), 30.0),
        ("unsafe, 1 in flight, against DBOS", ratio("aetheris:unsafe", 1), 5.0),
        ("pure, 100 in flight, against DBOS", ratio("aetheris:pure", 100), 60.0),
    ]
    at_most = [
        ("CPU µs per unsafe step, 100 in flight", found["aetheris:unsafe", 100]["cpu_us"], 80.0),
        ("bytes of store per unsafe step", found["aetheris:unsafe", 100]["bytes"], 1_536.0),
        ("CPU per step, 5,000-step job against 50-step jobs", growth, 1.3),
        ("peak memory, 100,000 jobs against 10,000", memory, 1.2),
    ]
    return [(what, value, floor, value >= floor) for what, value, floor in at_least] + [
        (what, value, limit, value <= limit) for what, value, limit in at_most
    ]


def main() -> int:
    """Measure, print, and judge when asked to."""
    found = table(quick="--quick" in sys.argv)
    show(found)
    long = measure("aetheris:unsafe", 1, 1, 5_000)["cpu_us"]
    short = measure("aetheris:unsafe", 1, 100, 50)["cpu_us"]
    small = measure("aetheris:pure", 100, 10_000, 1)["peak_mb"]
    large = measure("aetheris:pure", 100, 100_000, 1)["peak_mb"]
    good = True
    sys.stdout.write("\n")
    for what, value, limit, held in verdicts(found, long / short, large / small):
        good = good and held
        sys.stdout.write(f"{'ok  ' if held else 'MISS'} {what}: {value:,.1f} (floor {limit:g})\n")
    return 0 if good or "--check" not in sys.argv else 1


if __name__ == "__main__":
    sys.exit(main())
