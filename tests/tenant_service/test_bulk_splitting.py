"""A bulk's body is cut at the same places however it arrives, and what is no array is refused."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mis_tenancy.errors import BodyMalformed
from tenant_service.bulk.splitting import Elements, Lines, Splitter

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.lists(st.dictionaries(st.text(), JSON, max_size=4), min_size=1, max_size=6)


def pieces(body: bytes, sizes: list[int]) -> Iterator[bytes]:
    """Cut the body into pieces of those sizes, over and over."""
    at, turn = 0, 0
    while at < len(body):
        size = sizes[turn % len(sizes)]
        yield body[at : at + size]
        at, turn = at + size, turn + 1


def split(splitter: Splitter, body: bytes, sizes: list[int]) -> list[bytes]:
    spans = [span for piece in pieces(body, sizes) for span in splitter.feed(piece)]
    return [body[start:end] for start, end in [*spans, *splitter.finish()]]


@given(
    objects=OBJECTS,
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=5),
    ascii_only=st.booleans(),
    indent=st.sampled_from([None, 0, 3]),
)
def test_an_array_is_cut_into_its_elements(
    objects: list[Any], sizes: list[int], ascii_only: bool, indent: int | None
) -> None:
    body = f" {json.dumps(objects, ensure_ascii=ascii_only, indent=indent)}\r\n".encode(
        "utf-8", "surrogatepass"
    )
    assert [json.loads(part) for part in split(Elements(), body, sizes)] == objects


@given(objects=OBJECTS, sizes=st.lists(st.integers(1, 40), min_size=1, max_size=5), ends=st.booleans())
def test_ndjson_is_cut_into_its_lines(objects: list[Any], sizes: list[int], ends: bool) -> None:
    body = "\n".join(json.dumps(one) for one in objects).encode() + (b"\n" if ends else b"")
    parts = [part for part in split(Lines(), body, sizes) if part]
    assert [json.loads(part) for part in parts] == objects


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"  ",
        b"{}",
        b'"["',
        b"1, 2",
        b"[",
        b"[1",
        b"[[1]",
        b'["]',
        b"[] []",
        b"[1] 2",
        b"x[1]",
        b"[1]]",
        b",",
    ],
)
@pytest.mark.parametrize("size", [1, 100])
def test_what_is_no_array_is_refused(body: bytes, size: int) -> None:
    with pytest.raises(BodyMalformed):
        split(Elements(), body, [size])
