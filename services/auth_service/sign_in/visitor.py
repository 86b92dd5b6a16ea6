"""Whoever has signed in on a page."""

from dataclasses import dataclass
from uuid import UUID

from mis_tenancy.tenant import Role


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who has signed in, on which session; a `restricted` one was let into an ending tenant."""

    session_id: UUID
    id: UUID
    email: str
    name: str
    role: Role
    epoch: int
    restricted: bool
