"""`/api/v1/tenants/{id}/config`."""

import re
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Query, Request, Response

from mis_accounts.claims import LimitExceeded
from mis_http.etags import IfMatch, PreconditionFailed, etag
from mis_http.idempotency import IdempotentRoute
from mis_http.pages import Paged, cut
from mis_http.problems import problems
from mis_tenancy.access import Permission, require_permission
from mis_tenancy.errors import ActAsRequired, AuthenticationRequired, PermissionDenied, TenantNotFound
from mis_tenancy.fastapi import requires, tenancy_of
from tenant_service.configuration.errors import (
    ConfigExceedsPlan,
    ConfigInvalid,
    ConfigKeyUnknown,
    ConfigMayOnlyTighten,
    ConfigNotFound,
    ConfigUndecryptable,
    ConfigVersionNotFound,
)
from tenant_service.configuration.paging import KeyPaged, cut_keys
from tenant_service.configuration.schemas import (
    KEY_PATTERN,
    LONGEST_KEY,
    ConfigIn,
    ConfigOut,
    ConfigVersionOut,
    Rollback,
)
from tenant_service.configuration.secrets import Secrets
from tenant_service.configuration.service import Configuration
from tenant_service.sessions import TargetSession
from tenant_service.target import Target
from tenant_service.trail import Calling

router = APIRouter(prefix="/api/v1/tenants", tags=["configuration"], route_class=IdempotentRoute)

_READS = [requires(Permission.CONFIG_READ)]
_WRITES = [requires(Permission.CONFIG_WRITE)]
_CLOSED = (AuthenticationRequired, PermissionDenied, TenantNotFound)
_RULES = (
    *(ConfigInvalid, ConfigKeyUnknown, ConfigMayOnlyTighten, ConfigExceedsPlan, LimitExceeded),
    PreconditionFailed,
)

_HIGHEST_VERSION = 2**31 - 1


async def named_key(key: Annotated[str, Path(description="A dotted key, such as `session.timeout`.")]) -> str:
    """Return the key the path names; raise ConfigNotFound for what cannot be one."""
    if len(key) > LONGEST_KEY or re.fullmatch(KEY_PATTERN, key) is None:
        raise ConfigNotFound
    return key


Key = Annotated[str, Depends(named_key)]


async def configuring(
    request: Request, session: TargetSession, target: Target, caller: Calling
) -> Configuration:
    """Return the configuration of the tenant the path names."""
    return Configuration(session, Secrets(session, tenancy_of(request).tenant_keys), target, caller)


Configuring = Annotated[Configuration, Depends(configuring)]


@router.get("/{id}/config", dependencies=_READS, responses=problems(*_CLOSED))
async def list_config(
    configuration: Configuring, page: KeyPaged, request: Request, response: Response
) -> list[ConfigOut]:
    """List the keys in force in their own order, each with the layer its value comes from."""
    entries = await configuration.entries(page.limit + 1, page.after)
    return [ConfigOut.of(entry) for entry in cut_keys(entries, page, request, response)]


@router.get(
    "/{id}/config/{key}",
    dependencies=_READS,
    responses=problems(*_CLOSED, ActAsRequired, ConfigNotFound, ConfigUndecryptable),
)
async def get_config(
    key: Key,
    configuration: Configuring,
    caller: Calling,
    response: Response,
    reveal: Annotated[bool, Query(description="Show an encrypted value; needs `config:reveal`.")] = False,
) -> ConfigOut:
    """Show one key in force; a secret only with `reveal`."""
    if reveal and not caller.is_operator:
        require_permission(caller.principal, Permission.CONFIG_REVEAL)
    entry = await (configuration.reveal(key) if reveal else configuration.entry(key))
    response.headers["ETag"] = etag(entry.version)
    return ConfigOut.of(entry)


@router.post("/{id}/config", dependencies=_WRITES, responses=problems(*_CLOSED, *_RULES, ActAsRequired))
async def set_config(
    body: ConfigIn, configuration: Configuring, if_match: IfMatch, response: Response
) -> ConfigOut:
    """Set one key, in force everywhere within a second."""
    entry = await configuration.put(
        body.config_key, body.config_value, is_encrypted=body.is_encrypted, hold=if_match.hold
    )
    response.headers["ETag"] = etag(entry.version)
    return ConfigOut.of(entry)


@router.delete(
    "/{id}/config/{key}",
    status_code=204,
    dependencies=_WRITES,
    responses=problems(*_CLOSED, ActAsRequired, ConfigNotFound, PreconditionFailed),
)
async def delete_config(key: Key, configuration: Configuring, if_match: IfMatch) -> None:
    """Drop the tenant's own value of a key, so that the plan's comes back."""
    await configuration.remove(key, if_match.hold)


@router.get("/{id}/config/{key}/history", dependencies=_READS, responses=problems(*_CLOSED, ConfigNotFound))
async def list_config_history(
    key: Key, configuration: Configuring, page: Paged, request: Request, response: Response
) -> list[ConfigVersionOut]:
    """List the versions of one key, newest first."""
    after = None if page.after is None else min(page.after.int, _HIGHEST_VERSION)
    rows = await configuration.history(key, limit=page.limit + 1, ascending=page.ascending, after=after)
    # A page's cursor is a UUID; a version is one with many zeros.
    shown = cut(rows, page, [UUID(int=row.version) for row in rows], request, response)
    return [ConfigVersionOut.of(row) for row in shown]


@router.post(
    "/{id}/config/{key}/rollback",
    dependencies=_WRITES,
    responses=problems(*_CLOSED, *_RULES, ActAsRequired, ConfigUndecryptable, ConfigVersionNotFound),
)
async def roll_back_config(
    key: Key, body: Rollback, configuration: Configuring, if_match: IfMatch, response: Response
) -> ConfigOut:
    """Make an earlier version's value the newest one, under the rules of today."""
    entry = await configuration.roll_back(key, body.version, if_match.hold)
    response.headers["ETag"] = etag(entry.version)
    return ConfigOut.of(entry)
