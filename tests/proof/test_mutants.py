"""Each guard is removed once, in a copy, and the proofs must turn red."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]


class Mutant(NamedTuple):
    file: str
    old: str
    new: str
    caught_by: str


MUTANTS = {
    "the intent is not awaited": Mutant(
        "engine/calls.py",
        """        change.on_durable = self._intent_durable
        run.queue(change)
""",
        """        run.queue(change)
        self._intent_durable()
""",
        "tests/proof/test_fences.py::test_no_effect_while_its_intent_is_not_on_the_disk",
    ),
    "a probe needs no quarantine": Mutant(
        "engine/probing.py",
        "owner_dead=gone,",
        "owner_dead=True,",
        "tests/proof/test_fences.py::test_a_probes_no_is_not_trusted_while_the_former_owner_lives",
    ),
    "the owner ignores a cancel": Mutant(
        "domain/history.py",
        "        history.cancel = event\n",
        "        pass\n",
        "tests/proof/test_fences.py::test_an_acknowledged_cancel_is_followed_by_no_effect",
    ),
    "an approval is good twice": Mutant(
        "domain/wishes.py",
        'f"decide:{step}", actor)',
        '"", actor)',
        "tests/proof/test_fences.py::test_an_approval_is_good_once_while_the_job_has_an_owner",
    ),
    "the epoch is compared wrongly": Mutant(
        "store/sql/queries.sql",
        "AND jobs.epoch = v.column3",
        "AND jobs.epoch >= v.column3",
        "tests/store/contract/test_fence.py::test_the_epoch_is_compared_even_when_all_else_fits",
    ),
    "the fence stands outside of the commit": Mutant(
        "store/commits.py",
        """    if (yield Many("head_jobs", fences)) != len(fences):
        raise _GuardFailed
""",
        """    yield Many("head_jobs", fences)
""",
        "tests/store/contract/test_fence.py::test_a_worker_that_lost_its_lease_writes_nothing",
    ),
    "a failed change does not take the later ones with it": Mutant(
        "store/commits.py",
        "                bad, stale = good[at:], True\n",
        "                bad, stale = [good.pop(at)], True\n                good.append(bad[0])\n",
        "tests/store/contract/test_fence.py"
        "::test_a_refused_change_takes_down_the_later_ones_of_its_job_and_no_other",
    ),
}


def _mutated(folder: Path, mutant: Mutant | None) -> Path:
    copy = folder / "copy"
    copy.mkdir()
    for name in ("aetheris", "aetheris_cli", "tests"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", copy)
    if mutant is not None:
        path = copy / "aetheris_cli" / mutant.file
        text = path.read_text("utf-8")
        assert text.count(mutant.old) == 1, "the guard has moved: mend the mutant"
        path.write_text(text.replace(mutant.old, mutant.new), "utf-8")
    return copy


def _run(copy: Path, test: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", test],
        cwd=copy,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.parametrize("name", MUTANTS)
def test_the_proofs_turn_red_when(name: str, tmp_path: Path) -> None:
    mutant = MUTANTS[name]
    done = _run(_mutated(tmp_path, mutant), mutant.caught_by)
    assert done.returncode == 1, done.stdout
    assert "1 failed" in done.stdout
    assert "the guard has moved" not in done.stdout


def test_a_copy_without_a_mutation_is_green(tmp_path: Path) -> None:
    done = _run(_mutated(tmp_path, None), "tests/proof/test_fences.py")
    assert done.returncode == 0, done.stdout
