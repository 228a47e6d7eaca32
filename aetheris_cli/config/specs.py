"""What agents.yaml may hold, as frozen records. Their fields are the keys of the file.

msgspec reads and checks them: it is loaded anyway, and a command that only submits must not pay
for a second library. The JSON Schema for editors is made from the same records.
"""

from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec
from msgspec import Meta, Struct

from aetheris_cli.domain.ledger import Effect, OnInDoubt

Name = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z_][A-Za-z0-9_.-]{0,99}$",
        description="letters, digits, dots, dashes and underscores, beginning with a letter",
    ),
]
Duration = Annotated[
    str | int | float, Meta(description="30s, 5m, 1.5h, 2d, 250ms, or a number of seconds")
]


class Base(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Unknown keys are mistakes."""


class RetrySpec(Base, frozen=True, kw_only=True):
    """How often a call is tried, and how long to wait in between."""

    max: Annotated[int, Meta(ge=1, le=1_000, description="attempts in all")] = 1
    base: Duration = 0.5
    factor: Annotated[float, Meta(ge=1, le=100)] = 2.0
    cap: Duration = 60


class CallSettings(Base, frozen=True, kw_only=True):
    """What the ledger needs to know; the operator's word wins over the author's."""

    effect: Annotated[
        Effect | None,
        Meta(description="pure, key, probe or unsafe; unsafe when nobody says anything"),
    ] = None
    timeout: Duration | None = None
    max_time: Duration | None = None
    retry: RetrySpec | None = None
    key_ttl: Duration | None = None
    on_in_doubt: OnInDoubt | None = None


# --- tools -----------------------------------------------------------------------------------


class PythonTool(CallSettings, frozen=True, kw_only=True, tag_field="type", tag="python"):
    """A Python function."""

    id: Name
    entrypoint: Annotated[str, Meta(pattern=r"^[\w.]+:[\w.]+$", description="module:function")]


ToolSpec: TypeAlias = PythonTool


# --- agents ----------------------------------------------------------------------------------


class PythonAgent(Base, frozen=True, kw_only=True, tag_field="type", tag="python"):
    """A Python function (ctx, message)."""

    id: Name
    entrypoint: Annotated[str, Meta(pattern=r"^[\w.]+:[\w.]+$", description="module:function")]
    version: str | int | None = None
    tools: Annotated[list[Name] | None, Meta(description="the only tools that it may call")] = None
    timeout: Duration | None = None


AgentSpec: TypeAlias = PythonAgent


class Config(Base, frozen=True, kw_only=True):
    """The whole file."""

    version: Literal[1, "1"] = 1
    agents: list[AgentSpec] = []
    tools: list[ToolSpec] = []


TAGGED: Final[dict[str, dict[str, type[Base]]]] = {
    "agents": {"python": PythonAgent},
    "tools": {"python": PythonTool},
}
"""The records that a `type` names, by the list that they stand in."""


WORDS: Final = {"effect": tuple(Effect), "on_in_doubt": tuple(OnInDoubt)}
"""The words that may stand behind a key, wherever it stands."""


def schema() -> dict[str, Any]:
    """Give the JSON Schema of agents.yaml, for editors."""
    made = msgspec.json.schema(Config)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **made}
