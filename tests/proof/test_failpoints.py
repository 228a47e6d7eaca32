"""A real process is killed with SIGKILL at every named place, for each class of effect.

What is left is judged by the checker, which knows nothing of our code.
"""

from collections.abc import Callable

import pytest
from world import EFFECTS, World

from aetheris_cli.ports.failpoints import NAMES

BEFORE_THE_CALL = {"claim.after_commit", "park.before_commit", "park.after_commit"}
IN_THE_CALL = {
    "intent.after_commit", "call.before_send", "call.after_send", "result.before_commit",
}  # fmt: skip
LAST = "end.before_commit"
NEVER_PASSED_BY_PURE = {"intent.before_commit", "intent.after_commit"}
COMMITS_OF_A_WORKER = range(2, 6)


@pytest.mark.parametrize("effect", EFFECTS)
@pytest.mark.parametrize(
    "name", [name for name in NAMES if not name.startswith(("store.", "restore."))]
)
def test_killed_at(name: str, effect: str, make_world: Callable[[], World]) -> None:
    world = make_world()
    job = world.submit(f"crash_{effect}", failpoint=name if name.startswith("submit.") else "")
    world.work(failpoint=name if name in BEFORE_THE_CALL else "")
    world.approve(job)
    late = not name.startswith(("submit.", "park."))
    passed = effect != "pure" or name not in NEVER_PASSED_BY_PURE
    world.work(failpoint=name if late else "", killed=passed)
    doubtful = world.settle_truthfully()
    world.work()

    assert world.broken() == []
    assert world.json("show", job)["status"] == "succeeded"
    assert len(world.effects()) >= 1
    assert world.run("replay", "--job", job).returncode == 0
    # A result is not waited for: at the job's end it may be on the disk or not.
    doubt = {True} if name in IN_THE_CALL else {True, False} if name == LAST else {False}
    assert bool(doubtful) in (doubt if effect == "unsafe" else {False})


@pytest.mark.parametrize("effect", EFFECTS)
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("count", COMMITS_OF_A_WORKER)
def test_killed_at_a_commit_of_the_store(
    when: str, count: int, effect: str, make_world: Callable[[], World]
) -> None:
    world = make_world()
    job = world.approved(f"crash_{effect}")
    done = world.run("worker", "--until-idle", failpoint=f"store.{when}_commit:{count}")
    assert done.returncode in {0, -9}
    world.work()
    world.settle_truthfully()
    world.work()

    assert world.broken() == []
    assert world.json("show", job)["status"] == "succeeded"
