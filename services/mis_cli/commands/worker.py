"""`mis worker`: background work and schedules, beside services that run elsewhere."""

import uvloop

from mis_worker.app import work
from mis_worker.settings import WorkerSettings


def worker() -> None:
    """Run background work until Ctrl-C or SIGTERM; reads the services' settings from the environment."""
    uvloop.run(work(WorkerSettings.read()))
