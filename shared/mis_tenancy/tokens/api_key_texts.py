"""The text of an API key: which one it is, whose, a secret of 256 bits, and a sum that finds typing errors.

It is `mis_` and 92 letters and digits, one number in base 62, so that it is selected by a double click and
found by scanners for leaked secrets. Its id comes first, which is why its beginning tells it from others. It
names its tenant, so that its row can be found under row-level security; that is a hint until the digest has
been compared.

Only the SHA-256 of the text is stored, without salt or stretching: nobody can try 2^256 secrets, however
fast each is, and a slow hash would let strangers with invented keys keep our processors busy.
"""

import os
import re
from dataclasses import dataclass, field
from hashlib import sha256
from string import ascii_lowercase, ascii_uppercase, digits
from typing import Final
from uuid import UUID
from zlib import crc32

from mis_tenancy.identifiers import new_id

_START: Final = "mis_"
_ALPHABET: Final = digits + ascii_uppercase + ascii_lowercase
_DIGIT: Final = {character: value for value, character in enumerate(_ALPHABET)}
_SECRET: Final = 32
_BYTES: Final = 16 + 16 + _SECRET + 4
_LENGTH: Final = 92
_SHOWN: Final = 12
_TEXT: Final = re.compile(rf"{_START}([0-9A-Za-z]{{{_LENGTH}}})")


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An API key taken apart."""

    id: UUID
    tenant_id: UUID
    secret: bytes = field(repr=False)

    @property
    def text(self) -> str:
        """The key as its holder gets it, once."""
        named = self.id.bytes + self.tenant_id.bytes + self.secret
        return _START + _spelled(int.from_bytes(named + crc32(named).to_bytes(4)))

    @property
    def digest(self) -> bytes:
        """What is stored of it."""
        return sha256(self.text.encode()).digest()

    @property
    def prefix(self) -> str:
        """The beginning by which people tell it from others; it is no secret."""
        return self.text[: len(_START) + _SHOWN]


def new_api_key(tenant_id: UUID) -> ApiKey:
    """Make a key of the tenant's."""
    return ApiKey(new_id(), tenant_id, os.urandom(_SECRET))


def parse_api_key(text: str) -> ApiKey | None:
    """Return the key that `text` is, in its one spelling, or None where it was mistyped or is none."""
    match = _TEXT.fullmatch(text)
    number = 0 if match is None else _number(match[1])
    if match is None or number >> (8 * _BYTES):
        return None
    raw = number.to_bytes(_BYTES)
    named, total = raw[:-4], raw[-4:]
    if crc32(named).to_bytes(4) != total:
        return None
    return ApiKey(UUID(bytes=named[:16]), UUID(bytes=named[16:32]), named[32:])


def _spelled(number: int) -> str:
    spelled = []
    for _ in range(_LENGTH):
        number, digit = divmod(number, len(_ALPHABET))
        spelled.append(_ALPHABET[digit])
    return "".join(reversed(spelled))


def _number(spelled: str) -> int:
    number = 0
    for character in spelled:
        number = number * len(_ALPHABET) + _DIGIT[character]
    return number
