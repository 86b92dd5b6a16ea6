"""A worker process of its own, to be killed: it does a job's steps one after another and notes each.

usage: worker_child.py PLATFORM_URL FILE
"""

import asyncio
import signal
import sys
from datetime import timedelta
from pathlib import Path

from mis_jobs.jobs import Job
from mis_jobs.runner import Runner
from mis_tenancy.database import Database


def left_over(steps: Path) -> list[int]:
    done = {int(step) for step in steps.read_text().split()}
    return [step for step in range(20) if step not in done]


def note(steps: Path, step: int) -> None:
    with steps.open("a") as file:
        file.write(f"{step}\n")


async def main(url: str, steps: Path) -> None:
    async def work(job: Job) -> None:
        for step in left_over(steps):
            note(steps, step)
            await asyncio.sleep(0.02)

    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    database = Database(url)
    await database.start()
    runner = asyncio.create_task(
        Runner(database, None, {"steps": work}, [], lease=timedelta(seconds=1.5)).run()
    )
    await stopped.wait()
    runner.cancel()
    await asyncio.gather(runner, return_exceptions=True)
    await database.stop()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
