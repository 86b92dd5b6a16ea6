"""The configuration of an archive: each key is set as a member would set it, under the rules of today.

What the tenant has beyond the archive stays. Secrets cannot come back, because they never left.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from mis_tenancy.errors import ProblemError
from mis_tenancy.plans import PlanName
from mis_tenancy.revocations import Kind, revoke
from mis_tenancy.session import TenantSession
from mis_tenancy.tables import ConfigurationRow, TenantRow
from mis_tenancy.turns import lock_tenant
from tenant_service.configuration import repository as configuration
from tenant_service.configuration.room import hold_to_room
from tenant_service.configuration.rules import Word, hold_members, judge
from tenant_service.configuration.service import age_document, tell_of_change
from tenant_service.imports.importers import Importer
from tenant_service.imports.report import SECRETS, Tally
from tenant_service.imports.rows import ArchivedSetting, is_same_json

ROWS_AT_ONCE: Final = 50


class ConfigurationImport:
    """Sets the keys of an archive for `by` in the session's tenant, whose row it locks."""

    def __init__(self, session: TenantSession, by: Importer, now: datetime) -> None:
        self._session = session
        self._by = by
        self._now = now
        self._tenant: TenantRow | None = None
        self.tally = Tally()

    async def take(self, settings: Sequence[ArchivedSetting | None]) -> None:
        """Judge some rows and write what becomes of them."""
        tenant = self._tenant = self._tenant or await lock_tenant(self._session)
        keys = [setting.config_key for setting in settings if setting is not None]
        own = await configuration.overrides(self._session, keys)
        words = await configuration.operators_words(self._session, keys)
        for setting in settings:
            self.tally.total += 1
            if setting is None:
                self.tally.refuse("", "row_invalid")
            else:
                await self._judge(tenant, setting, own, words.get(setting.config_key))

    def settle(self) -> None:
        """Let every cache hear of the changes, once."""
        if self._tenant is not None and (self.tally.create or self.tally.update):
            revoke(self._session, Kind.TENANT, tenant_id=self._tenant.id)

    async def _judge(
        self,
        tenant: TenantRow,
        setting: ArchivedSetting,
        own: dict[str, ConfigurationRow],
        word: Word | None,
    ) -> None:
        key, value = setting.config_key, setting.config_value
        current = own.get(key)
        if setting.is_encrypted:
            self.tally.skip += 1
            self.tally.left_out = [SECRETS]
        elif current is not None and current.is_encrypted:
            self.tally.refuse(key, "config_encrypted")
        elif current is not None and is_same_json(current.config_value, value):
            self.tally.skip += 1
        else:
            try:
                judge(key, value, is_encrypted=False)
                hold_members(key, value, PlanName(tenant.plan), word)
                await hold_to_room(self._session, key, current)
            except ProblemError as refusal:
                self.tally.refuse(key, refusal.code)
                return
            own[key] = await self._write(tenant, setting, is_new=current is None)

    async def _write(self, tenant: TenantRow, setting: ArchivedSetting, *, is_new: bool) -> ConfigurationRow:
        self.tally.create += int(is_new)
        self.tally.update += int(not is_new)
        age_document(tenant, setting.config_key, self._now)
        tell_of_change(self._session, setting.config_key)
        return await configuration.put(
            self._session,
            setting.config_key,
            setting.config_value,
            is_encrypted=False,
            by=self._by,
            now=self._now,
        )
