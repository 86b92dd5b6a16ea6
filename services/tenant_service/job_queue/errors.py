"""The refusals of the job queue, drawn as a tree.

ProblemError
├── JobNotFound 404
└── JobNotDead 409 · JobSuperseded 409
"""

from mis_tenancy.errors import ProblemError


class JobNotFound(ProblemError):
    """There is no such job, or it was forgotten."""

    status = 404
    code = "job_not_found"
    detail = "There is no such job. Done jobs are forgotten after 7 days, dead ones after 90."


class JobNotDead(ProblemError):
    """Only what was given up is tried again by hand; `state` says how the job stands."""

    status = 409
    code = "job_not_dead"
    detail = "The job was not given up, so there is nothing to try again. Its `state` says how it stands."


class JobSuperseded(ProblemError):
    """A newer job does the same by now."""

    status = 409
    code = "job_superseded"
    detail = "A newer job for the same thing waits or runs already. Look at that one."
