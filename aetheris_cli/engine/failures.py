"""What a tool or a probe raised, in the words that the history keeps."""

from aetheris_cli.domain.errors import AetherisError, NotSent, Refused
from aetheris_cli.domain.events import Error
from aetheris_cli.domain.ledger import Raised
from aetheris_cli.engine.endings import text_of
from aetheris_cli.engine.threads import Carried


def kind_of(error: BaseException) -> Raised:
    """Say what a tool means by what it raised."""
    if isinstance(error, Carried):
        error = error.error
    if isinstance(error, NotSent):
        return Raised.NOT_SENT
    if isinstance(error, Refused):
        return Raised.REFUSED
    return Raised.OTHER


def describe(error: BaseException) -> Error:
    """Describe what a tool or a probe raised."""
    if isinstance(error, Carried):
        error = error.error
    text = text_of(error)
    if isinstance(error, TimeoutError):
        kind, text = "timeout", text or "no answer in time"
    else:
        if not text or isinstance(error, SystemExit | KeyboardInterrupt):
            text = f"{type(error).__name__} {text}".strip()
        kind = error.code if isinstance(error, AetherisError) else kind_of(error).value
    return Error("error" if kind == "other" else kind, text, type(error).__name__)
