"""The error tree: codes, exit codes and HTTP statuses are a contract with scripts."""

import json
import pickle

import pytest

from aetheris_cli.domain import errors
from aetheris_cli.domain.errors import AetherisError

SPEC = [
    (errors.AetherisError, "error", 1, 500, False),
    (errors.UsageError, "usage", 2, 400, False),
    (errors.InvalidPayload, "invalid_payload", 2, 422, False),
    (errors.NotFound, "not_found", 3, 404, False),
    (errors.WaitTimedOut, "timeout", 4, 504, True),
    (errors.Conflict, "conflict", 5, 409, False),
    (errors.Fenced, "fenced", 5, 409, False),
    (errors.StoreUnavailable, "store_unavailable", 6, 503, False),
    (errors.StoreBusy, "store_busy", 6, 503, True),
    (errors.StoreFull, "store_full", 6, 503, True),
    (errors.StoreTooNew, "store_too_new", 6, 503, False),
    (errors.StoreDamaged, "store_damaged", 6, 503, False),
    (errors.NotAuthorised, "not_authorised", 7, 403, False),
    (errors.Diverged, "diverged", 12, 409, False),
    (errors.Bug, "bug", 70, 500, False),
    (errors.StoreFailed, "store_failed", 74, 500, False),
]
Kind = type[AetherisError]


@pytest.mark.parametrize(("kind", "code", "status", "http", "retryable"), SPEC)
def test_a_class_fixes_its_codes(
    kind: Kind,
    code: str,
    status: int,
    http: int,
    retryable: bool,  # noqa: FBT001
) -> None:
    shape = kind("m").as_json()
    assert (shape["code"], shape["exit"], kind.http) == (code, status, http)
    assert shape["retryable"] is retryable


def test_the_list_is_complete_and_no_code_is_used_twice() -> None:
    kinds = {
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, AetherisError)
    }
    assert kinds == {kind for kind, *_ in SPEC}
    assert len({kind.code for kind in kinds}) == len(kinds)


def test_an_unknown_commit_is_no_kind_of_unavailable_store() -> None:
    assert not issubclass(errors.StoreFailed, errors.StoreUnavailable)
    assert issubclass(errors.InvalidPayload, errors.UsageError)
    assert issubclass(errors.StoreBusy, errors.StoreUnavailable)


def test_the_error_object() -> None:
    error = errors.Conflict("taken", why="a job has it", fix="choose another", job="job_1", key="k")
    assert str(error) == "taken"
    assert json.loads(json.dumps(error.as_json())) == {
        "code": "conflict",
        "exit": 5,
        "message": "taken",
        "why": "a job has it",
        "fix": "choose another",
        "job": "job_1",
        "retryable": False,
        "details": {"key": "k"},
    }


def test_without_details_the_key_is_left_out_and_the_rest_is_there() -> None:
    assert " ".join(errors.NotFound("m").as_json()) == "code exit message why fix job retryable"


def test_an_error_survives_the_way_between_processes() -> None:
    error = errors.Diverged("m", why="w", fix="f", job="j", step="2")
    assert pickle.loads(pickle.dumps(error)).as_json() == error.as_json()  # noqa: S301
    failed = errors.Denied("m", call_id="c", error={"code": "x"})
    assert vars(pickle.loads(pickle.dumps(failed))) == vars(failed)  # noqa: S301


@pytest.mark.parametrize("kind", [errors.Denied, errors.TimedOut, errors.BudgetExceeded])
def test_what_an_agent_catches_is_one_family(kind: type[errors.CallFailed]) -> None:
    with pytest.raises(errors.CallFailed, match="no"):
        raise kind("no", call_id="job_1.2", error=None)


@pytest.mark.parametrize("kind", [errors.CallFailed, errors.NotSent, errors.Refused])
def test_an_authors_exceptions_are_not_aetheris_errors(kind: type[Exception]) -> None:
    assert not issubclass(kind, AetherisError)
    assert kind.__bases__ == (Exception,)
