"""The whole examination, in the order in which a reader puts things right."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

from mis_cli.doctor import databases, surroundings
from mis_cli.doctor.databases import ROLES, Entered
from mis_cli.doctor.findings import Finding, Look, looked
from mis_cli.doctor.keys import keys
from mis_cli.doctor.reading import Readings, read_each
from mis_cli.doctor.redis import redis
from mis_cli.doctor.work import work
from mis_tenancy.settings import MasterKeys


async def examine(given: Mapping[str, Any]) -> AsyncIterator[Finding]:
    """Yield what is found; settings that are `given` are not looked for in the environment."""
    readings = read_each(given)
    for finding in readings.findings:
        yield finding
    async for finding in _postgres(readings.values):
        yield finding
    for name, advice, look in _looks(readings):
        for finding in await looked(name, advice, look):
            yield finding


async def _postgres(values: Mapping[str, Any]) -> AsyncIterator[Finding]:
    places: dict[str, str] = {}
    for setting, role in ROLES.items():
        if (url := values.get(setting)) is None:
            continue
        advice = f"See that MIS_{setting.upper()} names the host, database, role and password as they are."

        async def look(setting: str = setting, url: str = url) -> list[Finding]:
            entered: Entered = await databases.enter(setting, url)
            places[setting] = entered.place
            return list(entered.findings)

        for finding in await looked(f"postgres {role}", advice, look):
            yield finding
    for finding in databases.one_place(places):
        yield finding


def _looks(readings: Readings) -> list[tuple[str, str, Look]]:
    values, settings = readings.values, readings.services
    found: list[tuple[str, str, Look]] = []

    def look(name: str, advice: str, needed: str, what: Look) -> None:
        if values.get(needed) is not None:
            found.append((name, advice, what))

    owner, application = values.get("migration_database_url"), values.get("database_url")
    schema_advice = "See the line of Postgres above."
    look("schema", schema_advice, "migration_database_url", lambda: databases.schema(owner or ""))
    look("isolation", schema_advice, "database_url", lambda: databases.isolation(application or ""))
    if (text := values.get("master_keys")) is not None:
        parsed = MasterKeys.parse(text)
        look("keys", schema_advice, "migration_database_url", lambda: keys(owner or "", parsed))
    redis_advice = "See that MIS_REDIS_URL names a Redis that runs and lets us in."
    look("redis", redis_advice, "redis_url", lambda: redis(values["redis_url"]))
    if settings is not None:
        storage_advice = "See that MIS_STORAGE_URL and its keys name a store that we may write."
        look("storage", storage_advice, "storage_url", lambda: surroundings.storage(settings))
        mail_advice = "See that MIS_SMTP_URL names a mail server that lets us in."
        look("mail", mail_advice, "public_url", lambda: surroundings.mail(settings))
        look("domain", "See the names' servers.", "base_domains", lambda: surroundings.domains(settings))
    look("spool", "Set MIS_SPOOL_DIR.", "spool_dir", lambda: surroundings.spool(values["spool_dir"]))
    look("public URL", "Set it.", "public_url", lambda: surroundings.public_url(values["public_url"]))
    look("worker", schema_advice, "platform_database_url", lambda: work(values["platform_database_url"]))
    return found
