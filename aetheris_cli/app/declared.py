"""From declarations to code: imports what agents.yaml names."""

import importlib
import sys
from difflib import get_close_matches
from typing import Any

import msgspec

from aetheris_cli.agents.python import as_agent
from aetheris_cli.app.registry import CodeRegistry
from aetheris_cli.config.agents import Declared
from aetheris_cli.config.specs import PythonTool, RetrySpec
from aetheris_cli.domain.errors import AetherisError, UsageError
from aetheris_cli.domain.ledger import Effect
from aetheris_cli.domain.retry import Retry, duration_ms
from aetheris_cli.ports.code import Tool
from aetheris_cli.tools.python import as_tool


def load(declared: Declared, into: CodeRegistry) -> None:
    """Import all entrypoints and take agents and tools into the registry.

    The folder of agents.yaml is importable. Raises UsageError, naming the line, for whatever
    goes wrong in an author's module.
    """
    folder = str(declared.folder)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    for spec, where in declared.tools():
        into.add_tool(_configured(_imported(spec.entrypoint, where), spec, where))
    for agent, where in declared.agents():
        limit = agent.timeout
        into.add_agent(
            as_agent(
                _imported(agent.entrypoint, where),
                id=agent.id,
                version=None if agent.version is None else str(agent.version),
                timeout_ms=None if limit is None else max(1, _ms(limit, where, "timeout")),
                tools=None if agent.tools is None else frozenset(agent.tools),
            )
        )


def _ms(value: str | float, where: str, what: str) -> int:
    return duration_ms(value, f"{where}: {what}")


def _imported(entrypoint: str, where: str) -> Any:  # noqa: ANN401
    module, _, name = entrypoint.partition(":")
    try:
        found: Any = importlib.import_module(module)
    except AetherisError as error:
        raise UsageError(
            f"{where}: {error.message}", why=f"{error.why}{_place(error)}", fix=error.fix
        ) from error
    except (Exception, SystemExit) as error:
        raise UsageError(
            f"{where}: {entrypoint} cannot be imported",
            why=f"{type(error).__name__}: {error}{_place(error)}",
            fix="the folder of agents.yaml is on the path; its modules are found there"
            if isinstance(error, ModuleNotFoundError)
            else "mend the module: python -c 'import " + module + "' shows the same",
        ) from error
    for part in name.split("."):
        if not hasattr(found, part):
            near = get_close_matches(part, dir(found), n=1)
            raise UsageError(
                f"{where}: {module} has no {name[:80]}",
                why=f"{getattr(found, '__file__', module)} was imported, and holds no such name",
                fix=f"did you mean {near[0]!r}?" if near else "mend the entrypoint",
            )
        found = getattr(found, part)
    return found


def _place(error: BaseException) -> str:
    """Name the author's line in which an import failed."""
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    if last is None or "importlib" in last.tb_frame.f_code.co_filename:
        return ""
    return f" ({last.tb_frame.f_code.co_filename}:{last.tb_lineno})"


def _configured(function: Any, spec: PythonTool, where: str) -> Tool:  # noqa: ANN401
    """Give the tool with the operator's settings in front of the author's."""
    made = as_tool(function)
    changed: dict[str, Any] = {"name": spec.id}
    if spec.effect is not None:
        changed["effect"] = spec.effect
    if spec.on_in_doubt is not None:
        changed["on_in_doubt"] = spec.on_in_doubt
    for key in ("timeout", "max_time", "key_ttl"):
        value = getattr(spec, key)
        if value is not None:
            changed[f"{key}_ms"] = _ms(value, where, key)
    if spec.retry is not None:
        changed["retry"] = _retry(spec.retry, where)
    if changed.get("effect") is Effect.PROBE and made.probe is None:
        raise UsageError(
            f"{where}: tool {spec.id} has effect probe and no probe",
            why="recovery asks the probe whether the effect took place",
            fix="declare probe=function with @tool",
        )
    return msgspec.structs.replace(made, **changed)


def _retry(spec: RetrySpec, where: str) -> Retry:
    base, cap = (_ms(value, where, "retry") / 1_000 for value in (spec.base, spec.cap))
    return Retry(spec.max, base=base, factor=spec.factor, cap=cap)
