"""Versions of resources (RFC 9110): their `ETag`, `If-Match` on changes, `If-None-Match` on reads."""

from collections.abc import Iterator
from typing import Annotated

from fastapi import Depends, Header

from mis_tenancy.errors import ProblemError


class PreconditionFailed(ProblemError):
    """The resource has changed since the caller read it."""

    status = 412
    code = "precondition_failed"
    detail = (
        "The resource has changed since you read it. Read it again and repeat the change on what it is now."
    )


def etag(version: int | str) -> str:
    """Return the strong entity tag of a resource's version."""
    return f'"{version}"'


def is_known(if_none_match: str | None, version: int | str) -> bool:
    """Return whether the caller has this version already: an `If-None-Match` names it, weakly or not."""
    if if_none_match is None:
        return False
    known = {tag for tag, _ in _listed(if_none_match)}
    return if_none_match.strip() == "*" or str(version) in known


class Precondition:
    """What the caller expects the resource to be; `hold` refuses when it is not."""

    def __init__(self, if_match: str | None) -> None:
        self._if_match = if_match

    def hold(self, version: int | str) -> None:
        """Raise PreconditionFailed unless the version is one the caller named, or none was named."""
        if self._if_match is None or self._if_match.strip() == "*":
            return
        strong = {tag for tag, is_weak in _listed(self._if_match) if not is_weak}
        if str(version) not in strong:
            raise PreconditionFailed


async def precondition(if_match: Annotated[str | None, Header()] = None) -> Precondition:
    """Read `If-Match`."""
    return Precondition(if_match)


IfMatch = Annotated[Precondition, Depends(precondition)]
IfNoneMatch = Annotated[str | None, Header()]


def _listed(header: str) -> Iterator[tuple[str, bool]]:
    """Yield each entity tag of a list, and whether it is weak; a comma stands in none of ours.

    No pattern is searched for, as strangers write the header, and make it as long as they like.
    """
    for part in header.split(","):
        spelled = part.strip()
        quoted = spelled.removeprefix("W/")
        if len(quoted) > 1 and quoted[0] == quoted[-1] == '"':
            yield quoted[1:-1], quoted != spelled
