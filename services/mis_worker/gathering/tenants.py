"""The tenant service's background work, by what it is about."""

from mis_mail.choice import transport_for
from mis_mail.queue import MailQueue
from mis_tenancy.seals import SealKeys
from mis_worker.parts import Parts
from mis_worker.work import Work, joined
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


def gathered(parts: Parts) -> Work:
    """Return the tenant service's work."""
    return joined(
        about(parts) for about in (_names, _keys, _endings, _money, _archives, _trails, _watching, _webhooks)
    )


def _names(parts: Parts) -> Work:
    """Look at domains again and again, and remove logos that nobody shows any more."""
    proofs = Proofs(parts.settings.dns_servers)
    rounds = domains.DomainRounds(
        parts.platform, Rechecks(parts.application, proofs), PendingClaims(parts.application, proofs)
    )
    return Work(
        handlers={
            domains.CHECKS: rounds.check,
            domains.PENDING: rounds.look_at_claims,
            branding.LOGO_CLEANUP: branding.LogoCleanup(parts.application, parts.storage).sweep,
        },
        schedules=domains.SCHEDULES,
    )


def _keys(parts: Parts) -> Work:
    jobs = encryption_keys.KeyJobs(Reencryption(parts.application, parts.tenant_keys))
    kind = encryption_keys.REENCRYPTION
    return Work(handlers={kind: jobs.reencrypt}, burials={kind: jobs.bury})


def _endings(parts: Parts) -> Work:
    tombstones = Tombstones(Certifier(parts.master_keys, parts.settings.public_url))
    traces = Traces(parts.redis, parts.storage)
    purges = endings.Purges(parts.platform, Purge(parts.platform, traces, tombstones))
    return Work(
        handlers={
            endings.DUE_PURGES: purges.start_due,
            endings.PURGE: purges.purge,
            endings.LATER_LOOK: purges.look_again,
        },
        schedules=endings.SCHEDULES,
        burials={endings.PURGE: purges.rest},
    )


def _money(parts: Parts) -> Work:
    """Make bills, follow up overdue ones, and change plans when it is time."""
    bills = billing.BillingJobs(parts.platform, parts.application, ScheduledMigrations(parts.application))
    downtime = Downtime(parts.application)
    return Work(
        handlers={billing.ROUND: bills.find_due, billing.UPKEEP: bills.bring_up, RECOVERY: downtime.recover},
        schedules=billing.SCHEDULES,
        burials={RECOVERY: downtime.bury},
    )


def _archives(parts: Parts) -> Work:
    exporter = Exporter(parts.application, parts.snapshots, parts.storage)
    export_jobs = exports.ExportJobs(parts.platform, exporter)
    import_jobs = imports.ImportJobs(parts.platform, ImportRuns(parts.application, parts.storage))
    return Work(
        handlers={
            exports.RUN: export_jobs.run,
            exports.DISCARD: export_jobs.discard,
            exports.UPKEEP: export_jobs.keep_up,
            imports.RUN: import_jobs.run,
            imports.UPKEEP: import_jobs.keep_up,
        },
        schedules=[*exports.SCHEDULES, *imports.SCHEDULES],
        burials={exports.RUN: export_jobs.bury, imports.RUN: import_jobs.bury},
    )


def _trails(parts: Parts) -> Work:
    """Seal the audit log and in time forget it; write what operators do in tenants into the platform's."""
    keys = SealKeys(parts.master_keys)
    retention = audit_seals.AuditRetention(AuditRetention(parts.platform, keys))
    return Work(
        handlers={
            audit_seals.RETENTION: retention.run,
            platform_trail.PLATFORM_TRAIL: platform_trail.PlatformTrail(parts.platform).write,
        },
        schedules=audit_seals.SCHEDULES,
        loops={"audit sealing": Sealing(parts.platform, keys).run},
    )


def _watching(parts: Parts) -> Work:
    """Add usage up, probe tenants, and tell by alerts what is found."""
    settings, upkeep = parts.settings, usage.UsageUpkeep(parts.platform)
    can_mail = transport_for(settings.smtp_url, settings.mail_dir) is not None
    alert_jobs = alerts.AlertJobs(
        parts.platform,
        parts.application,
        MailQueue(parts.wrapping) if can_mail else None,
        public_url=settings.public_url,
        operator_email=settings.operator_email,
    )
    tenants_health = Health(parts.probing, Probes(parts.probing, parts.redis, parts.storage))
    rounds = health.ProbeRounds(parts.platform, tenants_health, ProbeMetrics(parts.registry))
    return Work(
        handlers={
            "usage_levels": upkeep.note_levels,
            "usage_months": upkeep.add_up,
            "usage_copies": usage.DayCopies(parts.platform, parts.application).copy,
            "usage_retention": upkeep.forget,
            alerts.NOTICE: alert_jobs.tell_tenant,
            alerts.OPERATOR_NOTICE: alert_jobs.tell_operators,
            health.PROBES: rounds.plan,
            health.BATCH: rounds.probe,
        },
        schedules=[*usage.SCHEDULES, *alerts.SCHEDULES, *health.SCHEDULES],
        loops={"alert watch": Watch(parts.platform, parts.application).run},
    )


def _webhooks(parts: Parts) -> Work:
    relay = Relay(parts.platform, parts.redis, heard_by=AlertMetrics(parts.registry).hear)
    metrics = WebhookMetrics(parts.registry)
    sending = webhooks.sending_of(
        parts.settings, parts.platform, parts.application, parts.redis, metrics, parts.tracer
    )
    return Work(
        handlers={webhooks.RETENTION: webhooks.DeliveryRetention(parts.platform).run},
        schedules=webhooks.SCHEDULES,
        loops={"webhook relay": relay.run, "webhook sending": sending.run},
    )
