"""The worker's work is put together of parts, none of which can take another's place unseen."""

import pytest

from mis_jobs.jobs import Job
from mis_worker.work import Work, joined


async def nothing(job: Job) -> None:
    """Do nothing."""


def test_parts_are_joined_to_one_work() -> None:
    work = joined([Work(handlers={"a": nothing}), Work(handlers={"b": nothing}, burials={"a": nothing})])
    assert (set(work.handlers), set(work.burials)) == ({"a", "b"}, {"a"})


def test_two_features_cannot_handle_one_kind_of_job() -> None:
    with pytest.raises(ValueError, match="handle a"):
        joined([Work(handlers={"a": nothing}), Work(handlers={"a": nothing})])
