"""Who imports: a member, by what they may grant and by whose bounds every row is judged."""

from dataclasses import dataclass
from uuid import UUID

from mis_tenancy.tenant import Role


@dataclass(frozen=True, slots=True)
class Importer:
    """A member, or an operator inside the tenant; never the platform's word.

    `role` is the highest that they may grant.
    """

    id: UUID
    role: Role | None

    @property
    def is_operator(self) -> bool:
        """Whether what is set bounds members: never, as an archive is the tenant's own."""
        return False
