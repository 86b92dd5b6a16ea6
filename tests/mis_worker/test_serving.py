"""`mis worker` as a process: it works, shows its probes and metrics, and ends with SIGTERM."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from pathlib import Path

import httpx
import pytest

from mis_jobs.jobs import enqueue
from mis_jobs.runner import Runner
from mis_tenancy.database import Database
from mis_tenancy.settings import SettingsError
from mis_worker.serving import probe_app, serving
from tests.mis_cli.command_line import environment
from tests.mis_jobs.job_queue import PATIENCE, until
from tests.mis_tenancy.redis_fixtures import free_port
from tests.servers import TestServers


async def test_a_worker_process_works_shows_itself_and_ends_with_sigterm(
    test_servers: TestServers, tmp_path: Path
) -> None:
    """Catalogue 139."""
    urls, port = test_servers.database("worker"), free_port()
    env = (
        os.environ
        | environment(test_servers)
        | {
            "MIS_DATABASE_URL": urls.app,
            "MIS_PLATFORM_DATABASE_URL": urls.platform,
            "MIS_STORAGE_URL": f"file://{tmp_path}",
            "MIS_SPOOL_DIR": str(tmp_path),
        }
    )
    platform = Database(urls.platform)
    await platform.start()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "mis_cli", "worker", "--port", str(port)),
        env=env,
        stdout=asyncio.subprocess.DEVNULL,
    )
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            ready = await when_ready(client)
            async with platform.platform_transaction() as session:
                job = await enqueue(session, "retention", {}, tenant_id=None)
            assert job is not None
            await until(platform, job, "done")
            metrics = (await client.get("/metrics")).text
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        await platform.stop()
    assert ready.json()["status"] == "ready"
    assert 'mis_job_runs_total{kind="retention",outcome="done"}' in metrics


async def when_ready(client: httpx.AsyncClient) -> httpx.Response:
    # A new process imports for a while where the machine is busy.
    async with asyncio.timeout(4 * PATIENCE):
        while True:
            with contextlib.suppress(httpx.TransportError):
                if (answer := await client.get("/readyz")).status_code == 200:
                    return answer
            await asyncio.sleep(0.1)


async def test_a_worker_that_cannot_claim_is_unready_and_alive(test_servers: TestServers) -> None:
    runner = Runner(Database(test_servers.database("jobs").platform), None, {}, [])
    transport = httpx.ASGITransport(app=probe_app(runner))
    async with httpx.AsyncClient(transport=transport, base_url="http://worker") as client:
        assert (await client.get("/healthz")).json() == {"status": "alive"}
        answer = await client.get("/readyz")
    assert (answer.status_code, answer.json()["parts"]) == (503, {"queue": "failing"})


async def test_a_taken_port_is_told_with_its_setting(test_servers: TestServers) -> None:
    runner = Runner(Database(test_servers.database("jobs").platform), None, {}, [])
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(SettingsError, match="MIS_WORKER_PORT"),
    ):
        async with serving(runner, "127.0.0.1", taken.getsockname()[1]):
            pass
