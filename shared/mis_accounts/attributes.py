"""Attributes held against the JSON Schema that a tenant has set for them (`users.attributes_schema`).

It judges what is written from then on: who is there already stays as he is until his attributes change.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import islice
from typing import Any, Final

import msgspec
from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import ValidationError

from mis_tenancy.errors import ValidationFailed
from mis_tenancy.json_schemas import FORMATS, steps_of

KEY: Final = "users.attributes_schema"
_MOST_ERRORS: Final = 20
# Steps that one document may take, which is tens of milliseconds at worst. A form of a hundred fields takes
# some hundred; what is more is a schema that was made to be slow.
_MOST_STEPS: Final = 2_000
_LONGEST_QUOTE: Final = 200


def require_schema(configuration: Mapping[str, Any], attributes: Mapping[str, Any]) -> None:
    """Raise ValidationFailed, naming each field, unless the attributes meet the tenant's schema."""
    schema: Mapping[str, Any] = configuration[KEY]
    if not schema:
        return
    if steps_of(schema, attributes, _MOST_STEPS) > _MOST_STEPS:
        told = "are too many for the tenant's schema of this size"
        raise ValidationFailed([{"field": "attributes", "code": "attributes_too_complex", "message": told}])
    if found := list(islice(_problems(schema, attributes), _MOST_ERRORS)):
        raise ValidationFailed(found)


def _problems(schema: Mapping[str, Any], attributes: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    said: set[tuple[Any, ...]] = set()
    for error in _validator(msgspec.json.encode(schema)).iter_errors(attributes):
        # Of names that are missing the library reports each by itself, and all are told with the first.
        about = (error.validator, id(error.schema), *error.absolute_path)
        if about in said:
            continue
        said.add(about)
        for path, message in _told(error):
            field = ".".join(str(step) for step in ("attributes", *path))
            if (field, message) not in said:
                said.add((field, message))
                yield {"field": field, "code": "attributes_schema", "message": message}


def _told(error: ValidationError) -> Iterator[tuple[Sequence[Any], str]]:
    """Yield the path of each field that the error is about, and what is wrong there."""
    path, rule = [*error.absolute_path], error.validator_value
    schema: Any = error.schema
    instance: Any = error.instance
    if error.validator == "required":
        yield from (([*path, name], "is required") for name in schema["required"] if name not in instance)
    elif error.validator == "additionalProperties" and rule is False:
        unknown = (name for name in instance if name not in schema.get("properties", {}))
        yield from (([*path, name], "is not a field of the schema") for name in unknown)
    else:
        quoted = msgspec.json.encode(rule).decode()[:_LONGEST_QUOTE]
        yield path, f"does not meet `{error.validator}`: {quoted}"


@lru_cache(maxsize=256)
def _validator(schema: bytes) -> Draft202012Validator:
    return Draft202012Validator(msgspec.json.decode(schema), format_checker=FormatChecker(FORMATS))
