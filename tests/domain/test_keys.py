"""How a call that holds a global key stands."""

import pytest

from aetheris_cli.domain.history import Attempt, Settlement, Step
from aetheris_cli.domain.keys import Standing, standing
from aetheris_cli.domain.states import AttemptState as A
from aetheris_cli.domain.states import CallState as C


def holder(call: C, *attempts: A, verdict: str = "") -> Step:
    made = [Attempt(n, 1, "w", status, 1) for n, status in enumerate(attempts, 1)]
    settled = Settlement(verdict, "me", "looked", 1) if verdict else None
    cleared = len(made) if verdict == "did_not_happen" else 0
    return Step(
        id="1", kind="call", name="t", call=call, attempts=made, settled=settled, cleared=cleared
    )


@pytest.mark.parametrize(
    ("step", "open_", "ended"),
    [
        (None, Standing.OPEN, Standing.FREE),
        (holder(C.INTENDED, A.SENT), Standing.OPEN, Standing.OPEN),
        (holder(C.INTENDED, A.NOT_SENT), Standing.OPEN, Standing.FREE),
        (holder(C.INTENDED, A.UNKNOWN, A.NOT_SENT), Standing.OPEN, Standing.OPEN),
        (holder(C.IN_DOUBT, A.UNKNOWN), Standing.OPEN, Standing.OPEN),
        (holder(C.SUCCEEDED, A.SUCCEEDED), Standing.DONE, Standing.DONE),
        (holder(C.SUCCEEDED), Standing.DONE, Standing.DONE),
        (holder(C.FAILED, A.NOT_SENT, A.NOT_SENT), Standing.FREE, Standing.FREE),
        (holder(C.FAILED, A.UNKNOWN, A.NOT_SENT), Standing.DONE, Standing.DONE),
        (holder(C.FAILED, A.REFUSED), Standing.DONE, Standing.DONE),
        (holder(C.FAILED, A.UNKNOWN, verdict="fail"), Standing.DONE, Standing.DONE),
        (holder(C.FAILED, A.UNKNOWN, verdict="did_not_happen"), Standing.FREE, Standing.FREE),
    ],
)
def test_how_it_stands(step: Step | None, open_: Standing, ended: Standing) -> None:
    assert standing(step, job_ended=False) is open_
    assert standing(step, job_ended=True) is ended
