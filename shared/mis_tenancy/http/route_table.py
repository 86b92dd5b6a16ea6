"""Which route a path belongs to: a tree of segments whose wildcards match no path that plays tricks.

Policies and metrics both look paths up here, so they cannot disagree on what a path is. Only the path that
the router itself decides on is read, never a URL built from headers.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Final, Generic, TypeVar

from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute
from starlette.types import Scope

T = TypeVar("T")

# How many paths a table remembers: the few that come all the time, however many others there are.
_REMEMBERED: Final = 256
ANY_METHOD: Final = "*"
UNMATCHED: Final = "unmatched"
_TRICKS: Final = frozenset("\\;%")


class PathTable(Generic[T]):
    """Values by path pattern and method; `*` is one segment, a closing `**` any number of them, also none.

    The most specific pattern wins. A segment that is empty, made of dots only, or holds a backslash,
    semicolon, percent sign or control character is matched by no wildcard. `find(path, method)` returns the
    value of the most specific pattern that takes both, or None.
    """

    def __init__(self) -> None:
        self._root: _Node[T] = _Node()
        self.find = lru_cache(_REMEMBERED)(self._find)

    def add(self, pattern: str, value: T, method: str = ANY_METHOD) -> None:
        """Set the value of `pattern`, for one method or all; raise ValueError if it has one already."""
        node = self._root
        for segment in _segments(pattern):
            node = node.children.setdefault(segment, _Node())
        if method in node.values:
            raise ValueError(f"{pattern} has two rules for the method {method}.")
        node.values[method] = value
        self.find.cache_clear()

    def _find(self, path: str, method: str = ANY_METHOD) -> T | None:
        return self._root.find(_segments(path), 0, method) if path[:1] == "/" else None


class _Node(Generic[T]):
    __slots__ = ("children", "values")

    def __init__(self) -> None:
        self.children: dict[str, _Node[T]] = {}
        self.values: dict[str, T] = {}

    def value(self, method: str) -> T | None:
        found = self.values.get(method)
        return self.values.get(ANY_METHOD) if found is None else found

    def find(self, segments: Sequence[str], at: int, method: str) -> T | None:
        found = None
        if at == len(segments):
            found = self.value(method)
        else:
            segment = segments[at]
            child = self.children.get(segment) if segment not in _WILDCARDS else None
            if child is not None:
                found = child.find(segments, at + 1, method)
            if found is None and (child := self.children.get("*")) is not None and _is_plain(segment):
                found = child.find(segments, at + 1, method)
        if found is None and (child := self.children.get("**")) is not None:
            found = child.value(method) if all(map(_is_plain, segments[at:])) else None
        return found


_WILDCARDS: Final = frozenset({"*", "**"})


class Templates:
    """The templates of an application's routes, such as `/api/v1/users/{id}`, found again by path."""

    def __init__(self, templates: Iterable[str]) -> None:
        self._table: PathTable[str] = PathTable()
        # Routes that differ only in a parameter's name are one route to a reader; the first names it.
        patterns: dict[str, str] = {}
        for template in templates:
            patterns.setdefault(_pattern(template), template)
        for pattern, template in patterns.items():
            self._table.add(pattern, template)

    def of(self, scope: Scope) -> str | None:
        """Return the template of the request's route, or None where the application has none for its path."""
        return self._table.find(route_path(scope))


def templates_of(routes: Iterable[BaseRoute], prefix: str = "") -> Iterator[str]:
    """Yield the path templates of Starlette routes, those of mounted applications too."""
    for route in routes:
        if isinstance(route, Mount):
            inner = list(templates_of(route.routes, prefix + route.path))
            yield from inner or [f"{prefix}{route.path}/{{path:path}}"]
        elif isinstance(route, Route | WebSocketRoute):
            yield prefix + route.path


def route_path(scope: Scope) -> str:
    """Return the path that the application's router matches: without the prefix it is mounted at."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    return path[len(root) :] if root and path.startswith(f"{root}/") else path


def _segments(path: str) -> list[str]:
    return path.split("/")[1:]


def _is_plain(segment: str) -> bool:
    return segment.strip(".") != "" and _TRICKS.isdisjoint(segment) and segment.isprintable()


def _pattern(template: str) -> str:
    """Return the pattern of a template; it ends with a parameter that takes slashes."""
    pattern: list[str] = []
    for segment in template.split("/"):
        if ":path}" in segment:
            return "/".join([*pattern, "**"])
        pattern.append("*" if "{" in segment else segment)
    return "/".join(pattern)
