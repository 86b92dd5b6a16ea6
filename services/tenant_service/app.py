"""The tenant service's composition root."""

from fastapi import FastAPI

from mis_accounts.passwords import Passwords
from mis_http.files.signed_links import LinkSigner
from mis_http.outbound.reach import Reach
from mis_http.service.composition import compose
from mis_http.service.settings import ServiceSettings
from mis_tenancy.routes import suite_policy
from tenant_service.alerts.endpoints import router as alerts
from tenant_service.audit_logs.endpoints import router as audit_logs
from tenant_service.audit_seals.endpoints import router as audit_seals
from tenant_service.billing.endpoints import router as billing
from tenant_service.billing.payments import ManualProvider
from tenant_service.branding.endpoints import router as branding
from tenant_service.bulk.endpoints import router as bulk
from tenant_service.bulk.received import LARGEST_BODY
from tenant_service.configuration.endpoints import router as configuration
from tenant_service.domains.endpoints import router as domains
from tenant_service.domains.proofs import Proofs
from tenant_service.encryption_keys.endpoints import router as encryption_keys
from tenant_service.endings.endpoints import router as endings
from tenant_service.exports.endpoints import router as exports
from tenant_service.exports.fetching import Fetching
from tenant_service.health.endpoints import router as health
from tenant_service.health.probes import Probes
from tenant_service.health.service import Health
from tenant_service.imports.endpoints import router as imports
from tenant_service.imports.endpoints import uploads
from tenant_service.imports.inspection import LARGEST_ARCHIVE
from tenant_service.imports.uploads import Receiving
from tenant_service.isolation.endpoints import router as isolation
from tenant_service.isolation.service import Verification
from tenant_service.job_queue.endpoints import router as job_queue
from tenant_service.lifecycle.endpoints import router as lifecycle
from tenant_service.plan_migration.downtime import Downtime
from tenant_service.plan_migration.endpoints import router as plan_migration
from tenant_service.plans.endpoints import router as plans
from tenant_service.resolution.endpoints import router as resolution
from tenant_service.settings import from_environment
from tenant_service.usage.endpoints import router as usage
from tenant_service.webhooks.endpoints import router as webhooks


def create_app(settings: ServiceSettings | None = None) -> FastAPI:
    """Return the service; without `settings` it is configured from the environment."""
    settings = settings or from_environment()
    app = compose(
        settings,
        service="tenant",
        title="Tenant service",
        # A word that could be a slug must be routed before the slugs.
        routers=(
            plans,
            resolution,
            domains,
            branding,
            bulk,
            job_queue,
            lifecycle,
            endings,
            configuration,
            audit_logs,
            audit_seals,
            encryption_keys,
            usage,
            billing,
            plan_migration,
            health,
            alerts,
            isolation,
            exports,
            webhooks,
            imports,
            uploads,
        ),
        policy=suite_policy(),
        roles={"platform": settings.platform_database_url},
        body_limits={"/import": LARGEST_ARCHIVE, "/api/v1/tenants/bulk": LARGEST_BODY},
    )
    app.state.passwords = Passwords()
    app.state.proofs = Proofs(settings.dns_servers)
    app.state.payment_provider = ManualProvider()
    app.state.downtime = Downtime(app.state.tenancy.database)
    app.state.reach = Reach(allow_private=settings.webhook_allow_private)
    storage = settings.storage()
    tenancy = app.state.tenancy
    app.state.storage = storage
    app.state.readiness["storage"] = storage.check
    app.state.health = Health(tenancy.database, Probes(tenancy.database, tenancy.redis, storage))
    app.state.receiving = Receiving()
    app.state.links = LinkSigner(tenancy.settings.master_keys)
    app.state.fetching = Fetching(tenancy.database, storage, app.state.links)
    app.state.verification = Verification(tenancy.database, tenancy.redis, storage)
    return app
