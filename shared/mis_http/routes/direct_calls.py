"""What an endpoint takes from a request, worked out once: its parameters, its dependencies, their order.

FastAPI works this out anew in each request, which takes longer than most endpoints do. What most of ours ask
for is known here: scalars of path, query and headers, the request and the response, dependencies that are
coroutines or are left before the answer. Of an endpoint that asks for anything else, also for what a later
FastAPI may add, nothing is known; nor is of a request whose parameters are missing or do not fit.
"""

import types
from collections.abc import Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, fields
from datetime import date, datetime
from enum import Enum
from inspect import isasyncgenfunction, iscoroutinefunction
from operator import attrgetter
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin
from uuid import UUID

from fastapi import Request, Response, params
from fastapi.dependencies.models import Dependant

# Makes the answer of what the endpoint returns, and of the response it was given, if it asked for one.
Render = Callable[[Any, Response | None], Response]

_KNOWN: Final = frozenset(
    {
        *("path_params", "query_params", "header_params", "dependencies", "name", "call", "path", "scope"),
        *("request_param_name", "http_connection_param_name", "response_param_name", "use_cache"),
    }
)
_SOURCES: Final[Mapping[type, Callable[[Request], Mapping[str, str]]]] = {
    params.Path: attrgetter("path_params"),
    params.Query: attrgetter("query_params"),
    params.Header: attrgetter("headers"),
}
_SCALARS: Final = (str, int, float, bool, UUID, datetime, date, types.NoneType)
# Where a call's arguments stand: the request, the response, the parameters, then what each step came to.
_REQUEST, _RESPONSE, _FIRST = range(3)


class _Unknown(Exception):
    """The endpoint asks for something that only FastAPI knows."""


@dataclass(frozen=True, slots=True)
class _Parameter:
    source: Callable[[Request], Mapping[str, str]]
    alias: str
    is_required: bool
    default: Any
    validate: Callable[..., tuple[Any, list[Any]]]


@dataclass(frozen=True, slots=True)
class _Step:
    """A dependency, or at last the endpoint; `takes` says at which place each argument stands."""

    call: Callable[..., Any]
    is_left: bool
    takes: tuple[tuple[str, int], ...]


class DirectCall:
    """An endpoint with all that it takes."""

    def __init__(self, parameters: tuple[_Parameter, ...], steps: tuple[_Step, ...]) -> None:
        self._parameters = parameters
        self._steps = steps
        self._responds = any(place == _RESPONSE for step in steps for _, place in step.takes)

    def read(self, request: Request) -> list[Any] | None:
        """Return what the endpoint takes from `request`; None where a parameter is missing or unfit."""
        found: list[Any] = [request, _to_be_filled() if self._responds else None]
        for parameter in self._parameters:
            raw = parameter.source(request).get(parameter.alias)
            if raw is None:
                if parameter.is_required:
                    return None
                found.append(parameter.default)
                continue
            value, errors = parameter.validate(raw)
            if errors:
                return None
            found.append(value)
        return found

    async def answer(self, found: list[Any], render: Render, at: int = 0) -> Response:
        """Take the steps from `at` on and render what the last one returns, then leave what was entered."""
        for number in range(at, len(self._steps)):
            step = self._steps[number]
            given = {name: found[place] for name, place in step.takes}
            if step.is_left:
                async with step.call(**given) as entered:
                    found.append(entered)
                    return await self.answer(found, render, number + 1)
            found.append(await step.call(**given))
        return render(found[-1], found[_RESPONSE])


def _to_be_filled() -> Response:
    """Return the response whose headers and status, if any, are added to the answer."""
    response = Response()
    del response.headers["content-length"]
    response.status_code = None  # type: ignore[assignment]  # as FastAPI hands it to endpoints
    return response


def direct_call(endpoint: Dependant) -> DirectCall | None:
    """Return the call of an endpoint as FastAPI has understood it; None where it asks for something else."""
    try:
        declared = list(_declared(endpoint))
        parameters = tuple(_parameter(field) for field in declared)
        steps = _Steps({id(field): _FIRST + number for number, field in enumerate(declared)})
        steps.add(endpoint)
    except _Unknown:
        return None
    return DirectCall(parameters, tuple(steps.taken))


class _Steps:
    """Orders calls as FastAPI does: each after what it takes, and each but once."""

    def __init__(self, places: Mapping[int, int]) -> None:
        self.taken: list[_Step] = []
        self._places = places
        self._known: dict[tuple[object, str | None], int] = {}

    def add(self, dependant: Dependant) -> int:
        """Add the call of `dependant` after those it needs; return the place of what it comes to."""
        takes = [(inner.name, self.add(inner)) for inner in dependant.dependencies]
        known = self._known.get((dependant.call, dependant.scope))
        if known is not None:
            return known
        takes += [(field.name, self._places[id(field)]) for field in _own(dependant)]
        # A dependency that serves sockets, too, asks for what a request and they have in common.
        takes += [(dependant.request_param_name, _REQUEST), (dependant.http_connection_param_name, _REQUEST)]
        takes += [(dependant.response_param_name, _RESPONSE)]
        call, is_left = _called(dependant)
        self.taken.append(_Step(call, is_left, tuple((name, place) for name, place in takes if name)))
        place = _FIRST + len(self._places) + len(self.taken) - 1
        self._known[dependant.call, dependant.scope] = place
        return place


def _declared(dependant: Dependant) -> Iterator[Any]:
    """Yield each parameter of `dependant` and of what it depends on."""
    for known in fields(dependant):
        if known.name not in _KNOWN and getattr(dependant, known.name):
            raise _Unknown
    if not dependant.use_cache:
        raise _Unknown
    yield from _own(dependant)
    for inner in dependant.dependencies:
        yield from _declared(inner)


def _own(dependant: Dependant) -> list[Any]:
    return [*dependant.path_params, *dependant.query_params, *dependant.header_params]


def _called(dependant: Dependant) -> tuple[Callable[..., Any], bool]:
    call = dependant.call
    if iscoroutinefunction(call):
        return call, False
    if isasyncgenfunction(call) and dependant.scope == "function":
        return asynccontextmanager(call), True
    raise _Unknown


def _parameter(field: Any) -> _Parameter:
    info = field.field_info
    source = _SOURCES.get(type(info))
    is_plain = source is not None and field.config is None and info.validation_alias in (None, field.alias)
    is_given = info.is_required() or (info.default_factory is None and not info.validate_default)
    if source is None or not (is_plain and is_given and _is_scalar(info.annotation)):
        raise _Unknown
    if not isinstance(info.default, (*_SCALARS, Enum)) and not info.is_required():
        raise _Unknown
    return _Parameter(source, field.alias, info.is_required(), info.default, field.validate)


def _is_scalar(annotation: Any) -> bool:
    """Return whether a value is one text on the wire, and not several or a model of several."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _is_scalar(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        return all(map(_is_scalar, get_args(annotation)))
    is_enum = isinstance(annotation, type) and issubclass(annotation, Enum)
    return origin is Literal or is_enum or annotation in _SCALARS
