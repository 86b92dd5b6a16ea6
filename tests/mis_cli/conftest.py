"""Directories for servers of these tests' own."""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from mis_cli import desk
from mis_cli.commands import backup, doctor, load, restore
from tests.mis_cli.command_line import CommandLine, environment
from tests.servers import TestServers, remove_server_directory


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that every user may enter, unlike pytest's own; short enough for a socket."""
    directory = Path(tempfile.mkdtemp(prefix="mis-cli-"))
    directory.chmod(0o711)
    yield directory
    remove_server_directory(directory)


@pytest.fixture
def closed_place() -> Iterator[Path]:
    """A directory that only its owner may enter, as root's home is."""
    directory = Path(tempfile.mkdtemp(prefix="mis-cli-"))
    directory.chmod(0o700)
    yield directory
    remove_server_directory(directory)


@pytest.fixture(scope="session", autouse=True)
def own_log() -> Iterator[None]:
    """Leave this process its own log: a logger keeps the stream of the command that used it first."""
    with pytest.MonkeyPatch.context() as patching:
        for module in (desk, backup, doctor, load, restore):
            patching.setattr(module, "configure_logging", lambda *given, **more: None)
        before = structlog.get_config()
        # What a machine reads is on standard output, where no line of the log may stand between.
        structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.__stderr__))
        yield
        structlog.configure(**before)


@pytest.fixture
def mis(test_servers: TestServers) -> CommandLine:
    """The command line on the suite's deployment."""
    return CommandLine(environment(test_servers))
