"""Free JSON that a caller gives us to keep: bounded, and nothing that Postgres could not give back."""

import math
from typing import Any, Final

import msgspec

LARGEST_BYTES: Final = 16_384
DEEPEST: Final = 16


def checked(value: dict[str, Any]) -> dict[str, Any]:
    """Return `value`; raise ValueError where it is too large, too deep, or holds what jsonb cannot.

    jsonb has no NUL, no lone surrogate and no number beyond the finite ones.
    """
    _walk(value, DEEPEST)
    if len(msgspec.json.encode(value)) > LARGEST_BYTES:
        raise ValueError(f"must not take more than {LARGEST_BYTES} bytes")
    return value


def _walk(value: Any, deeper: int) -> None:
    if deeper < 0:
        raise ValueError(f"must not be nested more than {DEEPEST} deep")
    if isinstance(value, str):
        _check_text(value)
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError("must not hold NaN or Infinity")
    elif isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise ValueError("must not hold whole numbers beyond 64 bits")
    elif isinstance(value, dict):
        for key, inner in value.items():
            _check_text(key)
            _walk(inner, deeper - 1)
    elif isinstance(value, list):
        for inner in value:
            _walk(inner, deeper - 1)


def _check_text(text: str) -> None:
    if "\x00" in text:
        raise ValueError("must not contain the character NUL")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("must not contain half of a surrogate pair")
