"""What says who a user is, wherever it comes in: a request, a row of a file, an invitation, an archive."""

import re
from functools import partial
from typing import Annotated, Any, Final

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from mis_http.free_json import KIB, at_most, storable
from mis_http.schemas import Text
from mis_tenancy.composed import composed

LONGEST_NAME: Final = 200
_BREAKS: Final = re.compile("[\t\n\v\f\r\x85\u2028\u2029]+")
# The category Cc of Unicode, which never changes.
_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f]")
_DEEPEST: Final = 17


def printable(text: str) -> str:
    """Return `text`; raise PydanticCustomError where it holds a control character.

    A line break in a name would become one in a mail's header or in a log.
    """
    if _CONTROL.search(text):
        raise PydanticCustomError("text_control", "holds a control character")
    return text


def _in_one_line(text: str) -> str:
    """Return `text` with a space for each break, as cells of a spreadsheet have them."""
    return " ".join(line for line in _BREAKS.split(text) if line)


def _fits_64_bits(value: Any) -> Any:
    """Return `value`; raise PydanticCustomError for a number that most programs would read as another.

    The database keeps 1e300 as a one with three hundred zeros, which would not come back in.
    """
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            _fits_64_bits(inner)
    elif isinstance(value, int | float) and not -(2**63) <= value < 2**63:
        raise PydanticCustomError("json_number", "holds a whole number beyond 64 bits")
    return value


Address = Annotated[Text, Field(min_length=3, max_length=254)]
# One form of each letter, however a keyboard composed it, so that equal names are equal.
Name = Annotated[
    Text,
    AfterValidator(_in_one_line),
    AfterValidator(printable),
    AfterValidator(partial(composed, longest=LONGEST_NAME)),
    Field(min_length=1, max_length=LONGEST_NAME),
]
Attributes = Annotated[
    dict[str, Any],
    AfterValidator(partial(storable, deepest=_DEEPEST)),
    AfterValidator(_fits_64_bits),
    AfterValidator(at_most(16 * KIB)),
    Field(description="Free JSON of at most 16 KiB."),
]
