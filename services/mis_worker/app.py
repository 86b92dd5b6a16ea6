"""The worker's composition root: which jobs there are, and what runs them."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import structlog

from auth_service.invitations import jobs as invitations
from auth_service.passwords.jobs import ResetMails
from mis_accounts.reset_asks import RESET_MAIL
from mis_http.settings import ServiceSettings
from mis_jobs.metrics import JobMetrics
from mis_jobs.runner import SLOTS, Runner
from mis_mail.choice import transport_for
from mis_mail.delivery import Delivery
from mis_mail.queue import MAIL, MailQueue
from mis_tenancy.actor_keys import ActorKeys
from mis_tenancy.database import Database
from mis_tenancy.encryption import TenantKeys, Wrapping
from mis_tenancy.logging import configure_logging
from mis_tenancy.redis import Redis
from mis_tenancy.seals import SealKeys
from mis_tenancy.settings import MasterKeys
from mis_worker.retention.jobs import SCHEDULES, Retention
from mis_worker.serving import serving
from mis_worker.settings import WorkerSettings
from mis_worker.tenant_levels.metrics import LevelMetrics
from mis_worker.tenant_levels.watch import LevelWatch
from tenant_service.alerts import jobs as alerts
from tenant_service.alerts.metrics import AlertMetrics
from tenant_service.alerts.watch import Watch
from tenant_service.audit_seals import jobs as audit_seals
from tenant_service.audit_seals.retention import Retention as AuditRetention
from tenant_service.audit_seals.sealing import Sealing
from tenant_service.billing import jobs as billing
from tenant_service.branding import jobs as branding
from tenant_service.domains import jobs as domains
from tenant_service.domains.pending import PendingClaims
from tenant_service.domains.proofs import Proofs
from tenant_service.domains.rechecks import Rechecks
from tenant_service.encryption_keys import jobs as encryption_keys
from tenant_service.encryption_keys.reencryption import Reencryption
from tenant_service.endings import jobs as endings
from tenant_service.endings.certificates import Certifier
from tenant_service.endings.purge import Purge
from tenant_service.endings.tombstone import Tombstones
from tenant_service.endings.traces import Traces
from tenant_service.exports import jobs as exports
from tenant_service.exports.running import Exporter
from tenant_service.health import jobs as health
from tenant_service.health.metrics import ProbeMetrics
from tenant_service.health.probes import Probes
from tenant_service.health.service import Health
from tenant_service.imports import jobs as imports
from tenant_service.imports.running import ImportRuns
from tenant_service.plan_migration.downtime import RECOVERY, Downtime
from tenant_service.plan_migration.period_end import ScheduledMigrations
from tenant_service.platform_trail import jobs as platform_trail
from tenant_service.usage import jobs as usage
from tenant_service.webhooks import jobs as webhooks
from tenant_service.webhooks.metrics import WebhookMetrics
from tenant_service.webhooks.relay import Relay
from user_service.media import jobs as media
from user_service.verifications import jobs as verifications
from user_service.verifications.reading import OcrReader

log = structlog.get_logger(__name__)


@asynccontextmanager
async def working(settings: ServiceSettings) -> AsyncIterator[Runner]:
    """Run the worker beside whatever the block does."""
    master_keys = MasterKeys.parse(settings.master_keys)
    actor_keys = ActorKeys(Wrapping(master_keys))
    # A job may hold a connection for as long as it runs, and the runner's own statements cannot wait for one.
    platform = Database(settings.platform_database_url or "", pool_size=SLOTS + 4, actor_keys=actor_keys)
    # What a job does inside a tenant, it does as the services do.
    application = Database(settings.database_url, pool_size=SLOTS, actor_keys=actor_keys)
    # An export holds a connection for as long as it takes.
    snapshots = Database(settings.database_url, pool_size=SLOTS, actor_keys=actor_keys)
    redis = Redis(settings.redis_url, 1.0) if settings.redis_url else None
    if redis is not None:
        platform.on_wake = application.on_wake = redis.wake
    await platform.start()
    await application.start()
    await snapshots.start()
    if redis is not None:
        await redis.start()
    metrics = JobMetrics()
    watched = metrics.registry
    retention = Retention(platform)
    usage_upkeep = usage.UsageUpkeep(platform)
    seal_keys = SealKeys(master_keys)
    key_jobs = encryption_keys.KeyJobs(Reencryption(application, TenantKeys(Wrapping(master_keys))))
    downtime = Downtime(application)
    mail_queue = MailQueue(Wrapping(master_keys))
    transport = transport_for(settings.smtp_url, settings.mail_dir)
    alert_jobs = alerts.AlertJobs(
        platform,
        application,
        mail_queue if transport else None,
        public_url=settings.public_url,
        operator_email=settings.operator_email,
    )
    storage = settings.storage()
    probes = Probes(application, redis, storage)
    bills = billing.BillingJobs(platform, application, ScheduledMigrations(application))
    import_jobs = imports.ImportJobs(platform, ImportRuns(application, storage))
    export_jobs = exports.ExportJobs(platform, Exporter(application, snapshots, storage))
    media_jobs = media.MediaJobs(platform, application, storage)
    verification_jobs = verifications.VerificationJobs(
        platform, application, storage, TenantKeys(Wrapping(master_keys)), OcrReader()
    )
    proofs = Proofs(settings.dns_servers)
    domain_rounds = domains.DomainRounds(
        platform, Rechecks(application, proofs), PendingClaims(application, proofs)
    )
    tombstones = Tombstones(Certifier(master_keys, settings.public_url))
    purges = endings.Purges(platform, Purge(platform, Traces(redis, storage), tombstones))
    handlers = {
        "audit_partitions": retention.make_partitions,
        "retention": retention.forget,
        "usage_levels": usage_upkeep.note_levels,
        "usage_months": usage_upkeep.add_up,
        "usage_retention": usage_upkeep.forget,
        invitations.LAPSES: invitations.InvitationRounds(platform, application).let_go,
        RESET_MAIL: ResetMails(application, Wrapping(master_keys), settings.public_url).write,
        MAIL: Delivery(platform, mail_queue, transport, sender=settings.mail_sender).deliver,
        alerts.NOTICE: alert_jobs.tell_tenant,
        alerts.OPERATOR_NOTICE: alert_jobs.tell_operators,
        health.PROBES: health.ProbeRounds(platform, Health(application, probes), ProbeMetrics(watched)).probe,
        branding.LOGO_CLEANUP: branding.LogoCleanup(application, storage).sweep,
        platform_trail.PLATFORM_TRAIL: platform_trail.PlatformTrail(platform).write,
        domains.CHECKS: domain_rounds.check,
        domains.PENDING: domain_rounds.look_at_claims,
        billing.ROUND: bills.find_due,
        billing.UPKEEP: bills.bring_up,
        endings.DUE_PURGES: purges.start_due,
        endings.PURGE: purges.purge,
        endings.LATER_LOOK: purges.look_again,
        RECOVERY: downtime.recover,
        webhooks.RETENTION: webhooks.DeliveryRetention(platform).run,
        encryption_keys.REENCRYPTION: key_jobs.reencrypt,
        exports.RUN: export_jobs.run,
        exports.DISCARD: export_jobs.discard,
        exports.UPKEEP: export_jobs.keep_up,
        imports.RUN: import_jobs.run,
        imports.UPKEEP: import_jobs.keep_up,
        media.DISCARD: media_jobs.discard,
        media.UPKEEP: media_jobs.keep_up,
        media.SWEEP: media_jobs.sweep,
        verifications.RUN: verification_jobs.run,
        verifications.DISCARD: verification_jobs.discard,
        verifications.UPKEEP: verification_jobs.keep_up,
        audit_seals.RETENTION: audit_seals.AuditRetention(AuditRetention(platform, seal_keys)).run,
    }
    schedules = [
        *SCHEDULES,
        *alerts.SCHEDULES,
        *invitations.SCHEDULES,
        *audit_seals.SCHEDULES,
        *endings.SCHEDULES,
        *exports.SCHEDULES,
        *webhooks.SCHEDULES,
        *imports.SCHEDULES,
        *media.SCHEDULES,
        *verifications.SCHEDULES,
        *usage.SCHEDULES,
        *health.SCHEDULES,
        *domains.SCHEDULES,
        *billing.SCHEDULES,
    ]
    burials = {
        RECOVERY: downtime.bury,
        endings.PURGE: purges.rest,
        encryption_keys.REENCRYPTION: key_jobs.bury,
        exports.RUN: export_jobs.bury,
        imports.RUN: import_jobs.bury,
    }
    runner = Runner(platform, redis, handlers, schedules, burials=burials, metrics=metrics)
    levels = LevelWatch(platform, LevelMetrics(watched), settings.metrics_tenants)
    relay = Relay(platform, redis, heard_by=AlertMetrics(watched).hear)
    sending = webhooks.sending_of(settings, platform, application, redis, WebhookMetrics(watched))
    tasks = [
        asyncio.create_task(runner.run(), name="worker"),
        asyncio.create_task(relay.run(), name="webhook relay"),
        asyncio.create_task(sending.run(), name="webhook sending"),
        asyncio.create_task(Sealing(platform, seal_keys).run(), name="audit sealing"),
        asyncio.create_task(Watch(platform, application).run(), name="alert watch"),
        asyncio.create_task(levels.run(), name="tenant levels"),
    ]
    for task in tasks:
        task.add_done_callback(_tell_of_end)
    try:
        yield runner
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if redis is not None:
            await redis.stop()
        await snapshots.stop()
        await application.stop()
        await platform.stop()


def _tell_of_end(task: asyncio.Task[None]) -> None:
    """Say so where a part of the worker, which are all made to go on, has ended by itself."""
    if not task.cancelled():
        log.error("worker.part_ended", part=task.get_name(), exc_info=task.exception())


async def work(settings: WorkerSettings) -> None:
    """Run the worker until SIGTERM or Ctrl-C."""
    configure_logging("worker")
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with AsyncExitStack() as stack:
        runner = await stack.enter_async_context(working(settings))
        if settings.worker_port is not None:
            host, port = settings.worker_host, settings.worker_port
            await stack.enter_async_context(serving(runner, host, port))
        await stopped.wait()
