"""What the watch has read of some tenants, and what that makes due of their alerts."""

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from uuid import UUID

from mis_tenancy.plans import GIB
from tenant_service.alerts.causes import Changes, Known
from tenant_service.alerts.incidents import incident_changes, incident_of, many
from tenant_service.alerts.limits import Level, Measure, limit_changes
from tenant_service.alerts.watch_repository import Standing, Touched


@dataclass(frozen=True, slots=True)
class Page:
    """How some tenants stand on `day`, which of their refusals were `frequent`, and their alerts."""

    standings: Mapping[UUID, Standing]
    refused: Mapping[UUID, frozenset[str]]
    frequent: Container[tuple[UUID, str]]
    known: Mapping[UUID, Sequence[Known]]
    day: date

    def changes(self) -> dict[UUID, list[Changes]]:
        """Return what is due of each tenant by what the page says, which is all but the requests' limit."""
        return {
            tenant_id: [self.limit_changes(tenant_id, *_levels(standing)), self._incident_changes(tenant_id)]
            for tenant_id, standing in self.standings.items()
        }

    def limit_changes(self, tenant_id: UUID, *levels: Level) -> Changes:
        """Return what the levels change about the tenant's alerts."""
        return limit_changes(levels, self.known.get(tenant_id, ()), self.day)

    def _incident_changes(self, tenant_id: UUID) -> Changes:
        actions = [
            action
            for action in self.refused[tenant_id]
            if incident_of(action).at_once or (tenant_id, action) in self.frequent
        ]
        return incident_changes(actions, self.known.get(tenant_id, ()), self.day)


def countable(standings: Iterable[Standing], tenants: Mapping[UUID, Touched]) -> list[tuple[UUID, str, int]]:
    """Return what has to be counted, and up to where: refusals that are an incident only when many."""
    return [
        (standing.tenant_id, action, many(standing.users))
        for standing in standings
        for action in tenants[standing.tenant_id].refused
        if not incident_of(action).at_once
    ]


def _levels(standing: Standing) -> list[Level]:
    """Return what is used of the limits that the directory knows."""
    max_storage = None if standing.max_storage is None else standing.max_storage * GIB
    return [
        Level(Measure.USERS, standing.users, standing.max_users),
        Level(Measure.STORAGE, standing.storage_bytes, max_storage),
    ]
