"""JSON that callers shape themselves, held to what the database stores and gives back unchanged.

A JSON parser lets more through than jsonb takes: NUL characters, half surrogate pairs, infinities. Refused
here they are a 422 with the field; refused by the database they would be a defect of ours.
"""

import json
import math
from collections.abc import Callable
from typing import Annotated, Any, Final

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

KIB: Final = 1024
_DEEPEST: Final = 32


def storable(value: Any, depth: int = 1, *, deepest: int = _DEEPEST) -> Any:
    """Return `value`; raise PydanticCustomError for what jsonb refuses or changes, or what is too deep."""
    if depth > deepest:
        raise PydanticCustomError("json_too_deep", f"nests deeper than {deepest} levels")
    if isinstance(value, str):
        _refuse_text(value)
    elif isinstance(value, float) and not math.isfinite(value):
        raise PydanticCustomError("json_number", "holds a number that is not finite")
    elif isinstance(value, dict):
        for name, inner in value.items():
            _refuse_text(name)
            storable(inner, depth + 1, deepest=deepest)
    elif isinstance(value, list):
        for inner in value:
            storable(inner, depth + 1, deepest=deepest)
    return value


def size_of(value: Any) -> int:
    """Return the bytes of `value` as compact JSON."""
    return len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())


def at_most(limit: int) -> Callable[[Any], Any]:
    """Return the check that a value's JSON takes at most `limit` bytes."""

    def check(value: Any) -> Any:
        if size_of(value) > limit:
            raise PydanticCustomError("json_too_large", f"takes at most {limit} bytes of JSON")
        return value

    return check


def _refuse_text(text: str) -> None:
    if "\x00" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise PydanticCustomError("json_text", "holds a character that is none: NUL or half a surrogate pair")


FreeValue = Annotated[Any, AfterValidator(storable), AfterValidator(at_most(64 * KIB))]
FreeObject = Annotated[dict[str, Any], AfterValidator(storable), AfterValidator(at_most(16 * KIB))]
