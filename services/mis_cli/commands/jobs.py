"""`mis jobs`: what the worker has to do and did, and another try for what it gave up."""

from typing import Annotated
from uuid import UUID

import typer

from mis_cli.commands.options import DataDir
from mis_cli.deployment import find_deployment
from mis_cli.desk import Desk, act
from mis_cli.output import AsJson, refuse, tell
from mis_http.pages import Page
from mis_tenancy.errors import ProblemError
from tenant_service.job_queue.filters import JobFilter, JobState
from tenant_service.job_queue.schemas import JobOut
from tenant_service.job_queue.service import JobQueue

app = typer.Typer(no_args_is_help=True, help="Background work, without what it carries.")


@app.command("list")
def list_jobs(
    state: Annotated[JobState | None, typer.Option(help="Only those in this state.")] = None,
    tenant: Annotated[UUID | None, typer.Option(help="Only those of the tenant of this id.")] = None,
    kind: Annotated[str | None, typer.Option(help="Only those of this kind.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many at most.")] = 50,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """List jobs, newest first."""

    async def found(desk: Desk) -> list[JobOut]:
        async with desk.platform.platform_transaction() as session:
            rows = await JobQueue(session, desk.caller).listed(JobFilter(state, tenant, kind), Page(limit))
            return [JobOut.of(row) for row in rows[:limit]]

    for job in act(find_deployment(data_dir), found):
        of = job.tenant_id or "platform"
        line = f"{job.id}  {job.state.value:<8} {job.attempts:>2}  {job.kind:<28} {of}  {job.error or ''}"
        tell(job.wire(), line.rstrip(), as_json=as_json)


@app.command("retry")
def retry(
    job: Annotated[UUID, typer.Argument(metavar="JOB", help="Its id.", show_default=False)],
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Have a job that was given up tried again."""

    async def revived(desk: Desk) -> JobOut:
        async with desk.platform.platform_transaction() as session:
            return JobOut.of(await JobQueue(session, desk.caller).retry(job))

    try:
        shown = act(find_deployment(data_dir), revived)
    except ProblemError as error:
        raise refuse(error, as_json=as_json) from error
    tell(shown.wire(), f"Queued {shown.kind} {shown.id} again.", as_json=as_json)
