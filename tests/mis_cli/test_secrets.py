"""`mis secrets`: a deployment's passwords, made once and told apart by who may know them."""

from pathlib import Path

from mis_tenancy.settings import MasterKeys
from tests.mis_cli.command_line import CommandLine


def files(directory: Path) -> dict[str, str]:
    return {
        str(file.relative_to(directory)): file.read_text() for file in directory.rglob("*") if file.is_file()
    }


async def test_secrets_are_made_once_and_again_only_where_one_is_missing(
    mis: CommandLine, tmp_path: Path
) -> None:
    assert (await mis("secrets", tmp_path)).exit_code == 0
    made = files(tmp_path)
    MasterKeys.parse(made["tenant/master_keys"])
    (tmp_path / "user" / "redis_url").unlink()
    assert (await mis("secrets", tmp_path)).exit_code == 0
    assert files(tmp_path) == made


async def test_nobody_is_told_a_password_of_a_role_that_is_not_its_own(
    mis: CommandLine, tmp_path: Path
) -> None:
    await mis("secrets", tmp_path)
    made = files(tmp_path)
    passwords = {
        role: made[f"postgres/{role}"] for role in ("mis_owner", "mis_app", "mis_auth", "mis_platform")
    }
    knowing = {
        role: {
            name.split("/")[0]
            for name, text in made.items()
            if password in text and not name.startswith(("kept/", "postgres/"))
        }
        for role, password in passwords.items()
    }
    assert knowing == {
        "mis_owner": {"migrations"},
        "mis_app": {"tenant", "auth", "user", "worker"},
        "mis_auth": {"auth"},
        "mis_platform": {"tenant", "worker"},
    }
