"""What a file may be called, and as what it is served.

A name is only ever shown: the file lies under its id. So what is refused is what would mislead a reader or
break a header, and what no file system could have given it.
"""

import re
import unicodedata
from collections.abc import Iterable
from typing import Final

from mis_tenancy.composed import composed
from mis_tenancy.errors import ValidationFailed

_LONGEST_NAME: Final = 255
_LONGEST_TYPE: Final = 255
# Signs that turn the direction of what follows, so that "gpj.exe" reads as "exe.jpg", and line separators.
_MISLEADING: Final = re.compile("[\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ufffd]")
_WORD: Final = r"[A-Za-z0-9!#$&^_.+-]+"
_TYPE: Final = re.compile(rf'{_WORD}/{_WORD}(?:\s*;\s*{_WORD}=(?:{_WORD}|"[^"\\\x00-\x1f\x7f]*"))*')

UNKNOWN: Final = "application/octet-stream"
# What clients send who say nothing of the file.
_SAYS_NOTHING: Final = frozenset({"", "application/x-www-form-urlencoded"})

_SHOWN_FAMILIES: Final = frozenset({"audio", "font", "image", "video"})
_SHOWN: Final = frozenset(
    {
        *("text/plain", "text/csv", "text/markdown", "text/calendar", "text/vcard"),
        *("application/json", "application/x-ndjson", "application/pdf", "application/rtf"),
        *("application/zip", "application/gzip", "application/x-tar", "application/x-7z-compressed"),
        *("application/msword", "application/epub+zip"),
    }
)
_OFFICE: Final = "application/vnd."


def checked_name(filename: str | None) -> str:
    """Return the name in NFC; raise ValidationFailed for one that is missing, or that no file has."""
    name = composed((filename or "").strip(), _LONGEST_NAME).strip()
    if not name:
        raise _unfit("missing", "is needed: as `?filename=`, or in the part's Content-Disposition")
    if "/" in name or "\\" in name or name in (".", ".."):
        raise _unfit("filename_invalid", "is a name without directories")
    if _MISLEADING.search(name) or any(unicodedata.category(sign) in ("Cc", "Cs") for sign in name):
        raise _unfit("filename_invalid", "must not contain control characters")
    if len(name.encode()) > _LONGEST_NAME:
        raise _unfit("filename_too_long", f"takes at most {_LONGEST_NAME} bytes of UTF-8")
    return name


def checked_type(content_type: str | None) -> str:
    """Return the media type, the general one where none is said; raise ValidationFailed for what is none."""
    kind = (content_type or "").strip()
    if kind.partition(";")[0].strip().lower() in _SAYS_NOTHING:
        return UNKNOWN
    if len(kind) > _LONGEST_TYPE or not _TYPE.fullmatch(kind):
        unfit = {"field": "Content-Type", "code": "type_invalid", "message": "is no media type"}
        raise ValidationFailed([unfit])
    return kind


def is_among(content_type: str, ranges: Iterable[str]) -> bool:
    """Return whether the type is one of `ranges`, such as `image/png`, `image/*` or `*/*`."""
    essence = content_type.partition(";")[0].strip().lower()
    wide = ("*/*", f"{essence.partition('/')[0]}/*", essence)
    return any(one.lower() in wide for one in ranges)


def served_as(content_type: str) -> str:
    """Return the type that a file is handed out as: its own only where no browser would run it."""
    essence = content_type.partition(";")[0].strip().lower()
    family, _, subtype = essence.partition("/")
    if subtype.endswith("xml"):
        return UNKNOWN
    is_shown = family in _SHOWN_FAMILIES or essence in _SHOWN or essence.startswith(_OFFICE)
    return content_type if is_shown else UNKNOWN


def _unfit(code: str, message: str) -> ValidationFailed:
    return ValidationFailed([{"field": "filename", "code": code, "message": message}])
