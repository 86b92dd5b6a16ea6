"""The platform's own background work: housekeeping, mail, and what is shown of tenants' levels."""

from mis_mail.choice import transport_for
from mis_mail.delivery import Delivery
from mis_mail.queue import MAIL, MailQueue
from mis_worker.parts import Parts
from mis_worker.retention.jobs import SCHEDULES, Retention
from mis_worker.tenant_levels.metrics import LevelMetrics
from mis_worker.tenant_levels.watch import LevelWatch
from mis_worker.work import Work


def gathered(parts: Parts) -> Work:
    """Return the platform's work."""
    settings = parts.settings
    retention = Retention(parts.platform)
    transport = transport_for(settings.smtp_url, settings.mail_dir)
    delivery = Delivery(parts.platform, MailQueue(parts.wrapping), transport, sender=settings.mail_sender)
    levels = LevelWatch(parts.platform, LevelMetrics(parts.registry), settings.metrics_tenants)
    return Work(
        handlers={
            "audit_partitions": retention.make_partitions,
            "retention": retention.forget,
            MAIL: delivery.deliver,
        },
        schedules=SCHEDULES,
        loops={"tenant levels": levels.run},
    )
