"""The error tree. A class fixes code, exit code, HTTP status; an instance says what, why, what now.

    AetherisError
    ├── UsageError              2  bad option, configuration or payload
    │   └── InvalidPayload
    ├── NotFound                3
    ├── WaitTimedOut            4  the job is durable and goes on
    ├── Conflict                5  already decided, wrong state, key reused
    ├── StoreUnavailable        6
    │   ├── StoreBusy              retryable
    │   ├── StoreFull              retryable once there is room
    │   ├── StoreTooNew
    │   └── StoreDamaged
    ├── NotAuthorised           7
    ├── Diverged               12  the code no longer does what the history says
    ├── Bug                    70
    ├── Fenced                  5  another worker owns the job now (the ledger over HTTP)
    └── StoreFailed            74  the outcome of a commit is unknown: stop at once

What an agent sees (`CallFailed`, `Denied`, `TimedOut`, `BudgetExceeded`) and what a tool
raises (`NotSent`, `Refused`) are separate: they are part of an author's program.
"""

from typing import Any, ClassVar


class AetherisError(Exception):
    """Something went wrong that a person or a script should be told about."""

    code: ClassVar[str] = "error"
    exit: ClassVar[int] = 1
    http: ClassVar[int] = 500
    retryable: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        why: str = "",
        fix: str = "",
        job: str | None = None,
        **details: Any,  # noqa: ANN401 - any JSON value may explain an error
    ) -> None:
        super().__init__(message)
        self.message = message
        self.why = why
        self.fix = fix
        self.job = job
        self.details = details

    def as_json(self) -> dict[str, Any]:
        """Give the error object of the command line and the API."""
        shape: dict[str, Any] = {
            "code": self.code,
            "exit": self.exit,
            "message": self.message,
            "why": self.why,
            "fix": self.fix,
            "job": self.job,
            "retryable": self.retryable,
        }
        if self.details:
            shape["details"] = self.details
        return shape


class UsageError(AetherisError):
    """The request cannot mean anything: an option, a value or the configuration is wrong."""

    code, exit, http = "usage", 2, 400


class InvalidPayload(UsageError):
    """A value that cannot be kept as JSON."""

    code, http = "invalid_payload", 422


class NotFound(AetherisError):
    """No such job, call, agent or store."""

    code, exit, http = "not_found", 3, 404


class WaitTimedOut(AetherisError):
    """The wait ended before the job did. The job is durable and goes on."""

    code, exit, http, retryable = "timeout", 4, 504, True


class Conflict(AetherisError):
    """Already decided, in the wrong state, or a key reused with another input."""

    code, exit, http = "conflict", 5, 409


class StoreUnavailable(AetherisError):
    """The store cannot be used as it is."""

    code, exit, http = "store_unavailable", 6, 503


class StoreBusy(StoreUnavailable):
    """Another process held the store for too long. Nothing was written."""

    code, retryable = "store_busy", True


class StoreFull(StoreUnavailable):
    """The disk is full. Nothing was written."""

    code, retryable = "store_full", True


class StoreTooNew(StoreUnavailable):
    """A newer Aetheris made this store."""

    code = "store_too_new"


class StoreDamaged(StoreUnavailable):
    """The file is not a store, or no longer a whole one."""

    code = "store_damaged"


class NotAuthorised(AetherisError):
    """The principal may not do this."""

    code, exit, http = "not_authorised", 7, 403


class Diverged(AetherisError):
    """The agent's present code does not do what its recorded history says."""

    code, exit, http = "diverged", 12, 409


class Bug(AetherisError):
    """A state that Aetheris holds to be impossible."""

    code, exit = "bug", 70


class StoreFailed(AetherisError):
    """A commit ended without an answer (I/O error, corruption): its outcome is unknown."""

    code, exit = "store_failed", 74


class Fenced(AetherisError):
    """The worker no longer owns the job; nothing of the change was written."""

    code, exit, http = "fenced", 5, 409


class CallFailed(Exception):
    """A call ended without success. `error` is the recorded error object."""

    def __init__(self, message: str, *, call_id: str = "", error: Any = None) -> None:  # noqa: ANN401
        super().__init__(message)
        self.call_id = call_id
        self.error = error


class Denied(CallFailed):
    """A person or a policy said no."""


class TimedOut(CallFailed):
    """A wait with a time limit ended without its cause."""


class BudgetExceeded(CallFailed):
    """The job tree may not spend what this call needs."""


class NotSent(Exception):
    """Raised by a tool: the effect certainly did not start, so it may be tried again."""


class Refused(Exception):
    """Raised by a tool: the other side said no for good, and nothing happened."""
