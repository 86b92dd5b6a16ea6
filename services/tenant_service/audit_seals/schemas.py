"""The verdict over an audit log on the wire."""

import base64
from typing import Self
from uuid import UUID

from pydantic import Field

from mis_http.schemas import ResponseBody
from tenant_service.audit_seals.service import Anchor, Bad, Problem, Verdict


class BadOut(ResponseBody):
    """The first bad row or seal; of a missing row, `row` is the one before it."""

    problem: Problem
    seal: int | None
    row: UUID | None

    @classmethod
    def of(cls, bad: Bad) -> Self:
        """Return it as it is shown."""
        return cls(problem=bad.problem, seal=bad.seal, row=bad.row)


class VerdictOut(ResponseBody):
    """Whether the log says what was sealed."""

    intact: bool
    rows: int = Field(description="All rows there are.")
    unsealed: int = Field(description="Rows that wait for their seal, which is made within seconds.")
    first_bad: BadOut | None
    anchor: str | None = Field(
        description="The newest seal. Kept elsewhere, `?anchor=` shows with it whether the log was cut short."
    )

    @classmethod
    def of(cls, verdict: Verdict) -> Self:
        """Return the verdict as it is shown."""
        return cls(
            intact=verdict.bad is None,
            rows=verdict.rows,
            unsealed=verdict.unsealed,
            first_bad=None if verdict.bad is None else BadOut.of(verdict.bad),
            anchor=None if verdict.head is None else spelled(verdict.head),
        )


def spelled(anchor: Anchor) -> str:
    """Return an anchor as a text: the seal's number, a dot and its link in URL-safe base64."""
    return f"{anchor.seq}.{base64.urlsafe_b64encode(anchor.link).rstrip(b'=').decode()}"


def parse_anchor(text: str) -> Anchor:
    """Return the anchor that `spelled` made; a pattern has checked its characters and lengths."""
    number, _, link = text.partition(".")
    return Anchor(int(number), base64.urlsafe_b64decode(link + "="))
