"""Run with `make bench ARGS=people`: search beside the plain list in one large tenant, and an import.

Both go through the statement door, as the service's do, in turns. What is searched for are beginnings of the
tenant's own names and addresses, of every length. Imports go into empty tenants, from files on disk.
"""

import argparse
import asyncio
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Final
from uuid import UUID

from benchmarks.exports import MIB, TENANT, Memory
from benchmarks.ground import ground
from mis_http.pages import Page
from mis_tenancy.access import ROLE_PERMISSIONS
from mis_tenancy.configuration import effective
from mis_tenancy.database import Database
from mis_tenancy.identifiers import new_id
from mis_tenancy.plans import PlanName
from mis_tenancy.tenant import Admission, Principal, PrincipalKind, Role, Tenant, TenantStatus
from user_service.imports.files import Format, examine, rows_of
from user_service.imports.service import Importer
from user_service.users.filters import EVERYBODY, UserFilter
from user_service.users.listing import encoded
from user_service.users.repository import page_through_door

_PAGE: Final = Page(20)
_NAMES: Final = (
    *("Ada", "Alan", "Anna", "Barbara", "Ben", "Carl", "Chloe", "Dana", "Emil", "Eva"),
    *("Frank", "Grace", "Hans", "Ida", "Jan", "Lena", "Maria", "Nina", "Otto", "Paul"),
)
# What the last names of the tenant begin with.
_DIGITS: Final = "0123456789abcdef"
# The same searches each time.
_CHANCE: Final = random.Random(7)  # noqa: S311  # it draws words
_PEOPLE: Final = """
insert into users (tenant_id, id, email, email_norm, name, role, status, attributes, created_at, updated_at)
select '{tenant}', gen_random_uuid(), lower(first) || '.' || last || n || '@large.example',
       lower(first) || '.' || last || n || '@large.example', first || ' ' || last,
       case when n / 20 % 10 = 0 then 'viewer' else 'member' end,
       case when n / 20 % 50 = 1 then 'invited' else 'active' end, '{{"team": "north"}}', now(), now()
  from (select n, (array[{names}])[(1 + n::bigint * 7919 % {many})::int] as first,
               'l' || substr(md5((n % 50000)::text), 1, 6) as last
          from generate_series(1, {rows}) n) people;
insert into user_terms (tenant_id, term, user_id)
select tenant_id, term, id
  from users, lateral (values (email_norm), (lower(split_part(name, ' ', 1))), (split_part(name, ' ', 2)))
                      words (term)
 where tenant_id = '{tenant}';
vacuum analyze users;
vacuum analyze user_terms
"""


def main() -> None:
    """Measure and print a line for each."""
    options = _options()
    full, empty = new_id(), {one: new_id() for one in Format}
    with ground() as given:
        given.ask(TENANT, tenant=full, slug="full")
        for one, tenant_id in empty.items():
            given.ask(TENANT, tenant=tenant_id, slug=f"empty-{one.value}")
        names = ", ".join(f"'{name}'" for name in _NAMES)
        given.ask(_PEOPLE, tenant=full, rows=options.users, names=names, many=len(_NAMES))
        asyncio.run(_measure(given.urls.app, full, empty, options))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks people", description=__doc__)
    parser.add_argument("--users", type=int, default=1_000_000, help="how many the searched tenant has")
    parser.add_argument("--searches", type=int, default=1_000)
    parser.add_argument("--rows", type=int, default=100_000, help="how many are imported")
    return parser.parse_args()


async def _measure(url: str, full: UUID, empty: dict[Format, UUID], options: argparse.Namespace) -> None:
    database = Database(url)
    await database.start()
    times = await _lists(database, full, options.searches)
    print(f"{options.users:,} users of one tenant, pages of 20, {options.searches:,} each in turns")
    plain = _at(times["list"], 0.5)
    for name, taken in times.items():
        half = _at(taken, 0.5)
        print(f"{name:<16} p50 {half:>7.2f} ms = {half / plain:.2f} lists   p95 {_at(taken, 0.95):>7.2f} ms")
    for written_in, tenant_id in empty.items():
        await measure_import(database, tenant_id, options.rows, written_in)
    await database.stop()


async def _lists(database: Database, tenant_id: UUID, count: int) -> dict[str, list[float]]:
    """Return the milliseconds of the list and of each kind of search."""
    kinds = await _kinds(database, tenant_id)
    times: dict[str, list[float]] = {name: [] for name in kinds}
    for number in range(count + 50):
        for name in _CHANCE.sample(list(kinds), len(kinds)):
            wanted = kinds[name]()
            began = time.perf_counter()
            encoded((await page_through_door(database, tenant_id, wanted, _PAGE))[: _PAGE.limit])
            # The first ones plan and compile what the others use.
            if number >= 50:
                times[name].append((time.perf_counter() - began) * 1_000)
    return times


async def _kinds(database: Database, tenant_id: UUID) -> dict[str, Callable[[], UserFilter]]:
    """Return what draws a search of each kind from the names and addresses that there are."""
    async with database.system_transaction(tenant_id) as system:
        found = await system.fetch("select name, email from users tablesample system (0.5) limit 2000")

    def begun(least: int, most: int | None) -> UserFilter:
        name, email = _CHANCE.choice(found)
        word = _CHANCE.choice([*name.lower().split(), email])
        return UserFilter(word[: _CHANCE.randint(least, most or len(word))])

    return {
        "list": lambda: EVERYBODY,
        "any beginning": lambda: begun(1, None),
        "1 or 2 letters": lambda: begun(1, 2),
        "3 or 4 letters": lambda: begun(3, 4),
        "first names": lambda: UserFilter(_CHANCE.choice(_NAMES)),
        "whole addresses": lambda: UserFilter(_CHANCE.choice(found)["email"]),
        "two words": lambda: UserFilter(_CHANCE.choice(found)["name"]),
        "two beginnings": lambda: UserFilter(f"{_CHANCE.choice(_NAMES)} l{_CHANCE.choice(_DIGITS)}"),
        "list of active": lambda: UserFilter(status="active"),
        "word, active": lambda: UserFilter(_CHANCE.choice(_NAMES), status="active"),
        "word, viewers": lambda: UserFilter(_CHANCE.choice(_NAMES), role=Role.VIEWER),
    }


def _at(times: list[float], fraction: float) -> float:
    return sorted(times)[int(len(times) * fraction)]


async def measure_import(database: Database, tenant_id: UUID, rows: int, written_in: Format) -> None:
    """Import so many users into the tenant from a file on disk, and print how fast and in what memory."""
    now, cpu, memory = time.perf_counter, time.process_time, Memory()
    with tempfile.TemporaryFile() as file:
        file.writelines(_lines(rows, written_in))
        with memory:
            began, busy, created = now(), cpu(), 0
            await asyncio.to_thread(examine, file, written_in)
            async for batch in _importer(database, tenant_id).each_for_itself(rows_of(file, written_in)):
                created += sum(one.ok for one in batch)
            seconds, busy = now() - began, cpu() - busy
    assert created == rows
    print(
        f"import of {rows:,} rows from {written_in.value:<7} {rows / seconds:>7,.0f} rows/s "
        f"{seconds:>6.1f} s, {busy:.1f} s of them busy, RSS growth {memory.growth / MIB:.1f} MiB"
    )


def _lines(rows: int, written_in: Format) -> Iterator[bytes]:
    if written_in is Format.CSV:
        yield b"email,name,role\n"
    for number in range(rows):
        email, name = f"person.number.{number}@large.example", f"Person Number {number}"
        if written_in is Format.CSV:
            yield f"{email},{name},member\n".encode()
        else:
            yield f'{{"email": "{email}", "name": "{name}", "role": "member"}}\n'.encode()


def _importer(database: Database, tenant_id: UUID) -> Importer:
    configuration = effective(PlanName.CUSTOM, {})
    tenant = Tenant(
        *(tenant_id, "empty", "empty", "Empty", PlanName.CUSTOM, TenantStatus.ACTIVE),
        configuration=configuration,
    )
    may = ROLE_PERMISSIONS[Role.OWNER]
    by = Principal(new_id(), PrincipalKind.MEMBER, tenant_id, Role.OWNER, frozenset(may))
    return Importer(database, tenant, Admission("bench", "127.0.0.1", (), tenant, by), lambda: False)
