"""Python functions as tools: `@tool` reads the type hints once and makes a `Tool`."""

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar, get_type_hints, overload

import msgspec

from aetheris_cli.domain import codec
from aetheris_cli.domain.errors import InvalidPayload, UsageError
from aetheris_cli.domain.ledger import Effect, OnInDoubt
from aetheris_cli.domain.retry import Retry, duration_ms
from aetheris_cli.ports.code import Tool

Function = TypeVar("Function", bound=Callable[..., Any])

ATTRIBUTE = "__aetheris_tool__"


@overload
def tool(function: Function, /) -> Function: ...


@overload
def tool(
    *,
    effect: str = "unsafe",
    name: str | None = None,
    timeout: str | float = "60s",
    max_time: str | float | None = None,
    retry: Retry = ...,
    probe: Callable[..., Any] | None = None,
    key_ttl: str | float | None = None,
    on_in_doubt: str = "park",
) -> Callable[[Function], Function]: ...


def tool(
    function: Any = None,
    /,
    *,
    effect: str = "unsafe",
    name: str | None = None,
    timeout: str | float = "60s",
    max_time: str | float | None = None,
    retry: Retry = Retry(1),  # noqa: B008 - frozen
    probe: Callable[..., Any] | None = None,
    key_ttl: str | float | None = None,
    on_in_doubt: str = "park",
) -> Any:
    """Declare a function as a tool. The function itself stays as it is.

    `effect`: pure, key, probe or unsafe. `timeout`: how long to wait for an attempt.
    `max_time`: how long a request can last out there; with it a probe's "no" can be trusted.
    `probe(CallInfo)` gives Happened, DidNotHappen or Unknown. `key_ttl`: how long the provider
    remembers an idempotency key. `on_in_doubt`: park or fail. A plain function runs in a
    thread. Raises UsageError when the declaration makes no sense. Without parentheses all is
    as the defaults say.
    """
    if function is not None:
        return tool()(function)
    if not isinstance(retry, Retry):
        raise UsageError(f"retry is {retry!r}", fix="write retry=Retry(3)")

    def declare(function: Function) -> Function:
        label = codec.text(name or str(getattr(function, "__name__", "tool")), "the name of a tool")
        made = _make(
            function,
            label,
            effect=_one_of(Effect, effect, f"the effect of tool {label}"),
            timeout_ms=duration_ms(timeout, f"the timeout of tool {label}"),
            max_time_ms=None if max_time is None else duration_ms(max_time),
            retry=retry,
            probe=probe,
            key_ttl_ms=None if key_ttl is None else duration_ms(key_ttl),
            on_in_doubt=_one_of(OnInDoubt, on_in_doubt, f"on_in_doubt of tool {label}"),
        )
        if probe is not None and not callable(probe):
            raise UsageError(f"the probe of tool {label} is {probe!r}", fix="give probe=function")
        if made.effect is Effect.PROBE and probe is None:
            raise UsageError(
                f"tool {label} has effect probe and no probe",
                why="recovery asks the probe whether the effect took place",
                fix="give probe=function, or another effect",
            )
        try:
            setattr(function, ATTRIBUTE, made)
        except (AttributeError, TypeError):
            # Built-in functions and bound methods take no attributes.
            raise UsageError(
                f"{label} cannot carry the declaration of a tool",
                why=f"it is a {type(function).__name__}, not a function of Python's own kind",
                fix="write a function that calls it, and declare that",
            ) from None
        return function

    return declare


def _one_of(kind: Any, value: str, what: str) -> Any:  # noqa: ANN401
    try:
        return kind(value)
    except ValueError:
        raise UsageError(
            f"{what} is {value!r}", why=f"it must be one of {', '.join(kind)}"
        ) from None


def as_tool(thing: object) -> Tool:
    """Give the tool that a decorated function is, or make one of a bare function.

    A bare function is of effect unsafe: nothing is known about it.
    """
    made = getattr(thing, ATTRIBUTE, None)
    if isinstance(made, Tool):
        return made
    if isinstance(thing, Tool):
        return thing
    if callable(thing):
        tool()(thing)
        bare = getattr(thing, ATTRIBUTE, None)
        if isinstance(bare, Tool):
            return bare
    raise UsageError(f"{thing!r} is not a tool", why="a tool is a function or a tool's name")


def _make(function: Callable[..., Any], label: str, **settings: Any) -> Tool:  # noqa: ANN401
    fields = _fields(function, label)
    if fields is None:
        read = _read_anything
        schema: dict[str, Any] = {"type": "object"}
    else:
        struct = msgspec.defstruct("arguments", fields, kw_only=True, forbid_unknown_fields=True)
        read = functools.partial(_read, msgspec.json.Decoder(struct).decode, struct, label)
        schema = _schema(struct)
    description = inspect.getdoc(function) or ""
    return Tool(
        name=label,
        run=function,
        read=read,
        is_async=inspect.iscoroutinefunction(function),
        schema=codec.digest(codec.canonical({"name": label, "parameters": schema})),
        schema_json=schema,
        description=description,
        **settings,
    )


def _fields(function: Callable[..., Any], label: str) -> list[Any] | None:
    """Give the parameters as fields; None when the function takes any keyword."""
    try:
        hints = get_type_hints(function)
    except Exception:  # noqa: BLE001 - a hint can be any expression; then nothing is known
        hints = {}
    fields: list[Any] = []
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            return None
        if parameter.kind in {parameter.VAR_POSITIONAL, parameter.POSITIONAL_ONLY}:
            raise UsageError(
                f"tool {label} has the parameter {name}, which cannot be given by name",
                why="arguments are recorded by name",
                fix="make it an ordinary parameter",
            )
        kind = _supported(hints.get(name, Any))
        if parameter.default is parameter.empty:
            fields.append((name, kind))
        else:
            fields.append((name, kind | msgspec.UnsetType, msgspec.UNSET))
    return fields


def _supported(kind: Any) -> Any:  # noqa: ANN401
    """Give the type if JSON can be read into it, else Any."""
    try:
        msgspec.json.Decoder(kind)
        msgspec.json.schema(kind)
    except (TypeError, NotImplementedError, ValueError):
        # What msgspec raises for a type that it cannot read (TypeError, ValueError for a name
        # that cannot be resolved) or describe (NotImplementedError). The hint then checks nothing.
        return Any
    return kind


def _schema(struct: Any) -> dict[str, Any]:  # noqa: ANN401
    found: dict[str, Any] = msgspec.json.schema(struct, ref_template="#/$defs/{name}")
    inner = found.get("$defs", {}).get("arguments", found)
    return {key: value for key, value in inner.items() if key != "title"}


def _read(decode: Callable[[bytes], Any], struct: Any, label: str, data: bytes) -> dict[str, Any]:  # noqa: ANN401
    try:
        found = decode(data)
    except msgspec.ValidationError as error:
        raise InvalidPayload(
            f"the arguments of tool {label} do not fit: {error}",
            why=_takes(struct),
            fix="`aetheris tools` shows what it takes",
        ) from None
    values = ((name, getattr(found, name)) for name in struct.__struct_fields__)
    return {name: value for name, value in values if value is not msgspec.UNSET}


def _takes(struct: Any) -> str:  # noqa: ANN401
    names = ", ".join(struct.__struct_fields__)
    return f"it takes {names}" if names else "it takes no arguments"


def _read_anything(data: bytes) -> dict[str, Any]:
    found: dict[str, Any] = codec.decode(data)
    return found
