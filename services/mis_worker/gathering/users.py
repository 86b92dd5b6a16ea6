"""The user service's background work."""

from mis_worker.parts import Parts
from mis_worker.work import Work
from user_service.media import jobs as media
from user_service.verifications import jobs as verifications
from user_service.verifications.reading import OcrReader


def gathered(parts: Parts) -> Work:
    """Return the user service's work."""
    media_jobs = media.MediaJobs(parts.platform, parts.application, parts.storage)
    verification_jobs = verifications.VerificationJobs(
        parts.platform, parts.application, parts.storage, parts.tenant_keys, OcrReader()
    )
    return Work(
        handlers={
            media.DISCARD: media_jobs.discard,
            media.UPKEEP: media_jobs.keep_up,
            media.SWEEP: media_jobs.sweep,
            verifications.RUN: verification_jobs.run,
            verifications.DISCARD: verification_jobs.discard,
            verifications.UPKEEP: verification_jobs.keep_up,
        },
        schedules=[*media.SCHEDULES, *verifications.SCHEDULES],
    )
