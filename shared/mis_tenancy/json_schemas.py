"""JSON Schemas that tenants write: a part of draft 2020-12 that cannot be made to run for long, or for ever.

A schema runs in our processes on every write. So it is bounded in size and depth, refers to nothing, neither
elsewhere nor to itself, and has no regular expressions, which a few letters make run for hours; formats stand
in for the usual ones. Uniqueness of a list's items is left out, as it compares each with each. What a schema
costs at most for a document can then be counted beforehand (`steps_of`).
"""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

LARGEST_BYTES: Final = 8_192
DEEPEST: Final = 12
DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
FORMATS: Final = ("date", "email", "ipv4", "ipv6", "uuid")
TYPES: Final = ("array", "boolean", "integer", "null", "number", "object", "string")

# What a double holds exactly.
_BIGGEST: Final = 2**53

Check = Callable[[Any], str | None]


def wrong_with(schema: Any) -> str | None:
    """Return what makes `schema` none that can be taken, or None."""
    if not isinstance(schema, dict):
        return "takes an object"
    if len(json.dumps(schema, ensure_ascii=False).encode("utf-8", "replace")) > LARGEST_BYTES:
        return f"takes a schema of at most {LARGEST_BYTES} bytes"
    return next(_faults(schema, "", DEEPEST), None)


def steps_of(schema: Any, value: Any, most: int) -> int:
    """Return how many keywords and listed values `value` is held against, whatever it turns out to be.

    It is not counted much further than `most`.
    """
    if not isinstance(schema, Mapping):
        return 0
    steps = len(schema)
    for name in _COMPARED_WITH:
        listed = schema.get(name, ())
        steps += sum(map(_size_of, listed)) if isinstance(value, dict | list) else len(listed)
    for inner, part in _held_against(schema, value):
        if steps > most:
            break
        steps += 1 + steps_of(inner, part, most - steps)
    return steps


def _held_against(schema: Mapping[str, Any], value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield each schema below this one with the value that it judges, the value itself or a part of it."""
    for name in _OF_THE_SAME:
        yield from ((one, value) for one in schema.get(name, ()))
    if "not" in schema:
        yield schema["not"], value
    if isinstance(value, Mapping):
        known, others = schema.get("properties", {}), schema.get("additionalProperties", True)
        yield from ((known.get(name, others), part) for name, part in value.items())
    elif isinstance(value, list):
        first = schema.get("prefixItems", [])
        yield from zip(first, value, strict=False)
        yield from ((schema.get("items", True), part) for part in value[len(first) :])


def _size_of(value: Any) -> int:
    """Return how many values there are in a document, itself included."""
    if isinstance(value, Mapping):
        return 1 + sum(map(_size_of, value.values()))
    return 1 + sum(map(_size_of, value)) if isinstance(value, list) else 1


def _faults(schema: Any, at: str, deeper: int) -> Iterator[str]:
    """Yield what is wrong with the schema that stands at the path `at`."""
    where = f"at {at} " if at else ""
    if not isinstance(schema, dict):
        yield f"{where}takes an object that is a schema"
    elif deeper < 0:
        yield f"takes a schema that is nested at most {DEEPEST} deep"
    else:
        for keyword, value in schema.items():
            yield from _faults_of_keyword(keyword, value, f"{at}/{keyword}", deeper)


def _faults_of_keyword(keyword: str, value: Any, at: str, deeper: int) -> Iterator[str]:
    if keyword in _MAY_CLOSE and isinstance(value, bool):
        return
    if keyword in _SCHEMAS:
        yield from _faults(value, at, deeper - 1)
    elif keyword in _LISTS_OF_SCHEMAS:
        if not isinstance(value, list) or not value:
            yield f"at {at} takes a list of schemas"
            return
        for place, one in enumerate(value):
            yield from _faults(one, f"{at}/{place}", deeper - 1)
    elif keyword == "properties":
        if not isinstance(value, dict):
            yield f"at {at} takes an object of schemas"
            return
        for name, one in value.items():
            yield from _faults(one, f"{at}/{name}", deeper - 1)
    elif (check := _PLAIN.get(keyword)) is None:
        yield f"at {at} has a keyword that is not offered; there are {', '.join(KEYWORDS)}"
    elif (wrong := check(value)) is not None:
        yield f"at {at} takes {wrong}"


def _text(value: Any) -> str | None:
    return None if isinstance(value, str) else "text"


def _flag(value: Any) -> str | None:
    return None if isinstance(value, bool) else "true or false"


def _anything(value: Any) -> str | None:
    return None


def _number(value: Any) -> str | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    # NaN fails the comparison too.
    return None if is_number and -_BIGGEST <= value <= _BIGGEST else f"a number up to {_BIGGEST}"


def _positive(value: Any) -> str | None:
    return None if _number(value) is None and value > 0 else "a number above 0"


def _count(value: Any) -> str | None:
    is_count = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31
    return None if is_count else "a whole number of at least 0"


def _names(value: Any) -> str | None:
    is_list = isinstance(value, list) and all(isinstance(one, str) for one in value)
    return None if is_list else "a list of names"


def _values(value: Any) -> str | None:
    return None if isinstance(value, list) and value else "a list of values"


def _type(value: Any) -> str | None:
    named = value if isinstance(value, list) and value else [value]
    return None if all(one in TYPES for one in named) else f"one of {', '.join(TYPES)}, or a list of them"


def _format(value: Any) -> str | None:
    return None if value in FORMATS else f"one of {', '.join(FORMATS)}"


def _dialect(value: Any) -> str | None:
    return None if value == DIALECT else DIALECT


# Where false says that there is nothing more; elsewhere nobody could say which field it is about.
_MAY_CLOSE: Final = ("additionalProperties", "items")
_OF_THE_SAME: Final = ("allOf", "anyOf", "oneOf")
_COMPARED_WITH: Final = ("enum", "required")
_SCHEMAS: Final = ("additionalProperties", "items", "not")
_LISTS_OF_SCHEMAS: Final = (*_OF_THE_SAME, "prefixItems")
_PLAIN: Final[Mapping[str, Check]] = {
    "$comment": _text,
    "$schema": _dialect,
    "const": _anything,
    "default": _anything,
    "deprecated": _flag,
    "description": _text,
    "enum": _values,
    "examples": _values,
    "exclusiveMaximum": _number,
    "exclusiveMinimum": _number,
    "format": _format,
    "maxItems": _count,
    "maxLength": _count,
    "maxProperties": _count,
    "maximum": _number,
    "minItems": _count,
    "minLength": _count,
    "minProperties": _count,
    "minimum": _number,
    "multipleOf": _positive,
    "readOnly": _flag,
    "required": _names,
    "title": _text,
    "type": _type,
    "writeOnly": _flag,
}
KEYWORDS: Final = tuple(sorted((*_SCHEMAS, *_LISTS_OF_SCHEMAS, "properties", *_PLAIN)))
