"""The auth service's background work."""

from auth_service.invitations import jobs as invitations
from auth_service.passwords.jobs import ResetMails
from mis_accounts.reset_asks import RESET_MAIL
from mis_worker.parts import Parts
from mis_worker.work import Work


def gathered(parts: Parts) -> Work:
    """Return the auth service's work."""
    resets = ResetMails(parts.application, parts.wrapping, parts.settings.public_url)
    return Work(
        handlers={
            invitations.LAPSES: invitations.InvitationRounds(parts.platform, parts.application).let_go,
            RESET_MAIL: resets.write,
        },
        schedules=invitations.SCHEDULES,
    )
