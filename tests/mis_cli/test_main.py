"""What every command of `mis` answers to what a user can put right."""

import pytest

from mis_cli.exits import AWAY
from tests.mis_cli.command_line import CommandLine


@pytest.mark.parametrize(
    ("host", "reason"),
    [("nowhere.invalid", "gaierror: "), ("127.0.0.1:1", "ConnectionRefusedError: ")],
)
async def test_a_database_that_is_not_there_is_said_in_a_sentence(
    host: str, reason: str, mis: CommandLine
) -> None:
    url = f"postgresql://mis_owner:secret-word@{host}/mis_db"
    answer = await mis("migrate", env={"MIS_MIGRATION_DATABASE_URL": url})
    assert answer.exit_code == AWAY
    assert answer.stderr.splitlines()[-1].startswith(f"mis: the database cannot be reached ({reason}")
    assert "Traceback" not in answer.stderr
    assert "secret-word" not in answer.stderr
