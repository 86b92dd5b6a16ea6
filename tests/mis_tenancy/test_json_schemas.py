from typing import Any

import pytest

from mis_tenancy.json_schemas import KEYWORDS, wrong_with

GOOD: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "required": ["team"],
    "additionalProperties": False,
    "properties": {
        "team": {"enum": ["north", "south"]},
        "desk": {"type": ["integer", "null"], "minimum": 1, "multipleOf": 0.5},
        "since": {"type": "string", "format": "date"},
        "tags": {"type": "array", "items": {"type": "string", "maxLength": 20}, "maxItems": 5},
        "pair": {"prefixItems": [{"type": "string"}, {}], "items": False},
        "either": {"anyOf": [{"const": 1}, {"not": {"type": "null"}}]},
    },
}


def nested(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(depth):
        schema = {"not": schema}
    return schema


@pytest.mark.parametrize("schema", [{}, GOOD, nested(12), {"properties": {"pattern": {"type": "string"}}}])
def test_what_is_bounded_is_taken(schema: Any) -> None:
    assert wrong_with(schema) is None


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        ([], "takes an object"),
        (True, "takes an object"),
        (None, "takes an object"),
        ({"pattern": "^(a+)+$"}, "/pattern"),
        ({"properties": {"a": {"pattern": "a"}}}, "/properties/a/pattern"),
        ({"patternProperties": {"a": {}}}, "/patternProperties"),
        ({"$ref": "#"}, "/$ref"),
        ({"properties": {"a": {"$ref": "https://elsewhere.example/schema"}}}, "/$ref"),
        ({"$dynamicRef": "#"}, "/$dynamicRef"),
        ({"$defs": {}}, "/$defs"),
        ({"$id": "https://elsewhere.example"}, "/$id"),
        ({"$schema": "http://json-schema.org/draft-07/schema#"}, "/$schema"),
        ({"uniqueItems": True}, "/uniqueItems"),
        ({"contains": {}}, "/contains"),
        ({"if": {}, "then": {}}, "/if"),
        ({"format": "regex"}, "/format"),
        ({"format": "date-time"}, "/format"),
        ({"format": ["date"]}, "/format"),
        ({"type": "text"}, "/type"),
        ({"type": []}, "/type"),
        ({"type": {}}, "/type"),
        ({"required": "team"}, "/required"),
        ({"required": [1]}, "/required"),
        ({"enum": []}, "/enum"),
        ({"enum": "north"}, "/enum"),
        ({"minLength": -1}, "/minLength"),
        ({"minLength": True}, "/minLength"),
        ({"maxItems": 1.5}, "/maxItems"),
        ({"minimum": "1"}, "/minimum"),
        ({"minimum": 10**400}, "/minimum"),
        ({"maximum": float("nan")}, "/maximum"),
        ({"multipleOf": 0}, "/multipleOf"),
        ({"items": [{}]}, "/items"),
        ({"properties": {"gone": False}}, "/properties/gone"),
        ({"anyOf": []}, "/anyOf"),
        ({"anyOf": {}}, "/anyOf"),
        ({"allOf": [{}, 1]}, "/allOf/1"),
        ({"properties": []}, "/properties"),
        ({"title": 1}, "/title"),
        (nested(13), "nested at most"),
        ({"description": "x" * 8_192}, "at most 8192 bytes"),
        ({"description": "ä" * 4_090}, "at most 8192 bytes"),
    ],
)
def test_what_is_not_bounded_or_means_nothing_is_told_with_its_place(schema: Any, told: str) -> None:
    assert told in (wrong_with(schema) or "")


def test_no_keyword_refers_or_matches_by_expression() -> None:
    assert not {word for word in KEYWORDS if word.endswith(("ref", "Ref")) or "attern" in word}
