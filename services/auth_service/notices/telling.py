"""Has people told of a change to how they sign in, once the change commits."""

from auth_service.notices.letters import Notices
from mis_mail.queue import MailQueue
from mis_tenancy.session import TenantSession
from mis_tenancy.tenancy import Tenancy
from mis_tenancy.tenant import Tenant


async def tell(
    session: TenantSession, tenancy: Tenancy, tenant: Tenant, *, email: str, name: str, what: str
) -> None:
    """Mail somebody one sentence, or a few, about what has changed."""
    mail = Notices(tenancy.settings.issuer).changed(to=email, name=name, tenant=tenant.name, what=what)
    await MailQueue(tenancy.wrapping).enqueue(session, mail, tenant_id=tenant.id)
