"""The first operator, from the settings: made once, however many processes start at a time."""

from datetime import UTC, datetime

from fastapi import FastAPI

from auth_service.authority import Authority
from auth_service.operators import repository
from mis_accounts.emails import parse_email
from mis_accounts.password_rules import PasswordPolicyUnmet
from mis_http.service.settings import ServiceSettings
from mis_tenancy.errors import ValidationFailed
from mis_tenancy.settings import SettingsError


async def prepare_first_operator(app: FastAPI) -> None:
    """Make the operator that the settings name, unless there is one of that address.

    An existing one is left as it is, so a password that was changed, or an account that was disabled, stays
    so. Raise SettingsError where address or password cannot be one.
    """
    settings: ServiceSettings = app.state.settings
    authority: Authority = app.state.authority
    if settings.operator_email is None or settings.operator_password is None:
        return
    try:
        email = parse_email(settings.operator_email)
        async with authority.database.platform_transaction() as session:
            await repository.lock(session)
            if await repository.find_by_email(session, email.norm) is None:
                encoded = await authority.passwords.hash(settings.operator_password)
                await repository.add(session, email, "First operator", encoded, datetime.now(UTC))
    except ValidationFailed as error:
        raise SettingsError("MIS_OPERATOR_EMAIL: is not an e-mail address.") from error
    except PasswordPolicyUnmet as error:
        raise SettingsError("MIS_OPERATOR_PASSWORD: takes at most 1,024 bytes.") from error
