"""agents.yaml: read strictly. Every complaint names the file, the line and the column."""

from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, NamedTuple

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from aetheris_cli.domain.errors import UsageError

MAX_BYTES: Final = 1 << 20
_TOOL_KEYS: Final = ("id", "type", "entrypoint", "effect", "timeout", "max_time", "on_in_doubt")
_AGENT_KEYS: Final = ("id", "type", "entrypoint", "version", "tools", "timeout")
_KEYS: Final = ("version", "agents", "tools")


class ToolSpec(NamedTuple):
    """A tool as it is declared."""

    id: str
    entrypoint: str
    settings: Mapping[str, str]
    where: str


class AgentSpec(NamedTuple):
    """An agent as it is declared."""

    id: str
    entrypoint: str
    version: str | None
    tools: tuple[str, ...] | None
    timeout: str | None
    where: str


class Declared(NamedTuple):
    """Everything that agents.yaml declares."""

    folder: Path
    agents: tuple[AgentSpec, ...]
    tools: tuple[ToolSpec, ...]


def read(path: Path) -> Declared:
    """Read agents.yaml. Raises UsageError with the place of the first mistake."""
    return _Reader(path).all()


class _Reader:
    def __init__(self, path: Path) -> None:
        self._path = path

    def all(self) -> Declared:
        root = self._compose()
        if root is None:
            return Declared(self._path.parent, (), ())
        top = self._mapping(root, _KEYS, "the file")
        if "version" in top and self._text(top["version"], "version") != "1":
            raise self._wrong(top["version"], "this version of agents.yaml is not known", fix="1")
        agents = [self._agent(node) for node in self._list(top.get("agents"), "agents")]
        tools = [self._tool(node) for node in self._list(top.get("tools"), "tools")]
        for kind, specs in (("agents", agents), ("tools", tools)):
            names = [spec.id for spec in specs]
            twice = next((spec for spec in specs if names.count(spec.id) > 1), None)
            if twice is not None:
                raise UsageError(
                    f"{twice.where}: two {kind} are called {twice.id}", fix="rename one of them"
                )
        return Declared(self._path.parent, tuple(agents), tuple(tools))

    def _compose(self) -> Node | None:
        try:
            data = self._path.read_bytes()
            if len(data) > MAX_BYTES:
                raise UsageError(f"{self._path} has {len(data)} bytes", why=f"at most {MAX_BYTES}")
            for token in yaml.scan(data.decode(), Loader=yaml.SafeLoader):
                if isinstance(token, yaml.AliasToken | yaml.AnchorToken | yaml.TagToken):
                    raise self._wrong(
                        token, "anchors, aliases and tags are not part of agents.yaml"
                    )
            return yaml.compose(data.decode(), Loader=yaml.SafeLoader)
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{self._path} cannot be read", why=str(error)) from error
        except RecursionError:
            raise UsageError(f"{self._path} is nested too deeply") from None
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            place = f":{mark.line + 1}:{mark.column + 1}" if mark is not None else ""
            problem = getattr(error, "problem", None) or str(error)
            raise UsageError(f"{self._path}{place}: {problem}", why="it is no YAML") from None

    def _where(self, node: Any) -> str:  # noqa: ANN401 - a node or a token
        mark = node.start_mark
        return f"{self._path}:{mark.line + 1}:{mark.column + 1}"

    def _wrong(self, node: Any, what: str, *, why: str = "", fix: str = "") -> UsageError:  # noqa: ANN401
        return UsageError(f"{self._where(node)}: {what}", why=why, fix=fix)

    def _mapping(self, node: Node, keys: tuple[str, ...], what: str) -> dict[str, Node]:
        if not isinstance(node, MappingNode):
            raise self._wrong(node, f"{what} must be a mapping of {', '.join(keys)}")
        found: dict[str, Node] = {}
        for key, value in node.value:
            name = str(key.value) if isinstance(key, ScalarNode) else ""
            if name in found:
                raise self._wrong(key, f"the key {name!r} stands twice")
            if name not in keys:
                near = get_close_matches(name, keys, n=1)
                raise self._wrong(
                    key,
                    f"{what} has no key {name[:80]!r}",
                    why=f"it may have {', '.join(keys)}",
                    fix=f"did you mean {near[0]!r}?" if near else "",
                )
            found[name] = value
        return found

    def _list(self, node: Node | None, what: str) -> list[Node]:
        if node is None:
            return []
        if not isinstance(node, SequenceNode):
            raise self._wrong(node, f"{what} must be a list")
        return list(node.value)

    def _text(self, node: Node, what: str) -> str:
        if not isinstance(node, ScalarNode) or node.tag.endswith((":null", ":bool")):
            raise self._wrong(node, f"{what} must be a text")
        text = str(node.value)
        if node.tag.endswith(":timestamp") or not text:
            raise self._wrong(node, f"{what} must be a text", fix=f'write "{text}" in quotes')
        return text

    def _named(self, node: Node, keys: tuple[str, ...], what: str) -> dict[str, Node]:
        found = self._mapping(node, keys, what)
        for key in ("id", "type", "entrypoint"):
            if key not in found:
                raise self._wrong(node, f"{what} needs {key}")
        kind = self._text(found["type"], "type")
        if kind != "python":
            raise self._wrong(
                found["type"],
                f"{what} of type {kind!r} is not known",
                why="this version has python",
            )
        entrypoint = self._text(found["entrypoint"], "entrypoint")
        module, colon, function = entrypoint.partition(":")
        if not (module and colon and function):
            raise self._wrong(found["entrypoint"], "entrypoint must be module:function")
        return found

    def _agent(self, node: Node) -> AgentSpec:
        found = self._named(node, _AGENT_KEYS, "an agent")
        tools = None
        if "tools" in found:
            tools = tuple(self._text(one, "a tool") for one in self._list(found["tools"], "tools"))
        return AgentSpec(
            self._text(found["id"], "id"),
            self._text(found["entrypoint"], "entrypoint"),
            self._text(found["version"], "version") if "version" in found else None,
            tools,
            self._text(found["timeout"], "timeout") if "timeout" in found else None,
            self._where(node),
        )

    def _tool(self, node: Node) -> ToolSpec:
        found = self._named(node, _TOOL_KEYS, "a tool")
        settings: dict[str, str] = {
            key: self._text(found[key], key) for key in _TOOL_KEYS[3:] if key in found
        }
        return ToolSpec(
            self._text(found["id"], "id"),
            self._text(found["entrypoint"], "entrypoint"),
            settings,
            self._where(node),
        )
