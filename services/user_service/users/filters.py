"""Which users a list asks for."""

from dataclasses import dataclass
from typing import Final

from mis_tenancy.tenant import Role


@dataclass(frozen=True, slots=True)
class UserFilter:
    """What a user must be; `query` holds beginnings of words, all of which must be met."""

    query: str = ""
    role: Role | None = None
    status: str | None = None


EVERYBODY: Final = UserFilter("", None, None)
