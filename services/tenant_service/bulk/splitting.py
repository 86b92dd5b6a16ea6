"""Finds where one operation ends and the next begins while a body arrives, without keeping or parsing it.

A splitter is fed the body in pieces and yields the spans of its parts, as offsets from the body's beginning.
"""

import re
from collections.abc import Iterator
from typing import Final, Protocol

from mis_tenancy.errors import BodyMalformed

Span = tuple[int, int]

_STRUCTURE: Final = re.compile(rb'["{}\[\],]')
_IN_STRING: Final = re.compile(rb'["\\]')
_BLANK: Final = re.compile(rb"[ \t\r\n]*\Z")
_NOT_AN_ARRAY: Final = "The body is not an array. Send an array of operations, or application/x-ndjson."
_OPENING: Final = (0x7B, 0x5B)
_CLOSING: Final = (0x7D, 0x5D)
_QUOTE: Final = 0x22


class Splitter(Protocol):
    """What a format's splitter does."""

    def feed(self, piece: bytes) -> Iterator[Span]:
        """Take the next piece of the body and yield the parts that end in it."""

    def finish(self) -> Iterator[Span]:
        """Yield what is left at the body's end; raise BodyMalformed where it ends too early."""


class Lines:
    """The lines of NDJSON; the last one may lack its line end."""

    def __init__(self) -> None:
        self._start = 0
        self._offset = 0

    def feed(self, piece: bytes) -> Iterator[Span]:
        """Yield each line that ends in the piece, without its line end."""
        found = piece.find(b"\n")
        while found != -1:
            end = self._offset + found
            yield self._start, end
            self._start = end + 1
            found = piece.find(b"\n", found + 1)
        self._offset += len(piece)

    def finish(self) -> Iterator[Span]:
        """Yield the last line."""
        yield self._start, self._offset


class Elements:
    """The elements of one JSON array; what is inside of them is looked at only for strings and brackets."""

    def __init__(self) -> None:
        self._offset = 0
        self._depth = 0
        self._start: int | None = None
        self._is_in_string = False
        self._is_escaped = False
        self._is_over = False

    def feed(self, piece: bytes) -> Iterator[Span]:
        """Yield each element that ends in the piece; raise BodyMalformed for what is no array."""
        at = 0
        if self._is_escaped and piece:
            self._is_escaped, at = False, 1
        while (found := (_IN_STRING if self._is_in_string else _STRUCTURE).search(piece, at)) is not None:
            if self._depth == 0 and _BLANK.match(piece[at : found.start()]) is None:
                raise BodyMalformed(_NOT_AN_ARRAY)
            at = found.end()
            if self._is_in_string:
                at = self._string(piece, found.start())
            else:
                yield from self._structure(piece[found.start()], self._offset + found.start())
        if self._depth == 0 and _BLANK.match(piece[at:]) is None:
            raise BodyMalformed(_NOT_AN_ARRAY)
        self._offset += len(piece)

    def finish(self) -> Iterator[Span]:
        """Raise BodyMalformed unless the array was closed."""
        if not self._is_over:
            raise BodyMalformed("The body ends before its array does." if self._depth else _NOT_AN_ARRAY)
        yield from ()

    def _string(self, piece: bytes, at: int) -> int:
        """Look at a quote or backslash inside a string; return where to go on."""
        if piece[at] == _QUOTE:
            self._is_in_string = False
            return at + 1
        self._is_escaped = at + 1 == len(piece)
        return at + 2

    def _structure(self, character: int, at: int) -> Iterator[Span]:
        if self._is_over or (self._depth == 0 and character != _OPENING[1]):
            raise BodyMalformed(_NOT_AN_ARRAY)
        if character == _QUOTE:
            self._is_in_string = True
        elif character in _OPENING:
            self._depth += 1
            if self._depth == 1:
                self._start = at + 1
        elif character in _CLOSING:
            self._depth -= 1
            self._is_over = self._depth == 0
        if self._start is not None and (self._is_over or (self._depth == 1 and character == 0x2C)):
            yield self._start, at
            self._start = at + 1
