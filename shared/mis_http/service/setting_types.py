"""What settings are made of: texts that are checked when they are read, and stay texts.

A value travels on as it came; what is wrong with it is said without it, as it may hold a password.
"""

import os
from email.errors import MessageError
from email.headerregistry import Address
from typing import Annotated, Final
from urllib.parse import parse_qs, parse_qsl, urlsplit

from pydantic import AfterValidator, BeforeValidator
from pydantic_settings import NoDecode

from mis_tenancy.postgres.poolers import Pooler
from mis_tenancy.redis.address import addresses_of
from mis_tenancy.settings import MasterKeys, SettingsError

_TLS_MODES: Final = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_TLS_FILES: Final = frozenset({"sslrootcert", "sslcert", "sslkey", "sslcrl"})


def _split(value: object) -> object:
    return (
        tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value
    )


def _url_of(*schemes: str) -> AfterValidator:
    def check(value: str) -> str:
        if urlsplit(value).scheme not in schemes:
            raise ValueError(f"is not a {' or '.join(scheme + '://' for scheme in schemes)} URL")
        return value

    return AfterValidator(check)


def _master_keys(value: str) -> str:
    # Parsed only to be checked; settings hold the text, so that a value can travel as it came.
    try:
        MasterKeys.parse(value)
    except SettingsError:
        raise ValueError("is not a list of id:base64(32 bytes) with unique ids") from None
    return value


def _mail_address(value: str) -> str:
    try:
        found = Address(addr_spec=value)
    except (ValueError, IndexError, MessageError):
        raise ValueError("is not an e-mail address") from None
    if not (found.username and found.domain):
        raise ValueError("is not an e-mail address")
    return value


def _redis(value: str) -> str:
    try:
        addresses_of(value)
    except SettingsError as error:
        raise ValueError(str(error).removeprefix("MIS_REDIS_URL").lstrip(": ")) from None
    return value


def _tls(value: str) -> str:
    """Return the URL; raise ValueError where what it says of TLS (libpq's parameters) cannot be used."""
    asked = dict(parse_qsl(urlsplit(value).query))
    mode = asked.get("sslmode", "prefer")
    if mode not in _TLS_MODES:
        raise ValueError(f"names an sslmode that is none ({', '.join(_TLS_MODES)} are)")
    if mode.startswith("verify") and "sslrootcert" not in asked:
        raise ValueError(f"asks for {mode} and names no sslrootcert, the file of the authorities to trust")
    for parameter in _TLS_FILES & asked.keys():
        if not os.access(asked[parameter], os.R_OK):
            raise ValueError(f"names as {parameter} a file that cannot be read: {asked[parameter]}")
    return value


def _known_pooler(value: str) -> str:
    for named in parse_qs(urlsplit(value).query).get("pooler", ()):
        if named not in set(Pooler):
            raise ValueError(f"names a pooler that is none ({' and '.join(Pooler)} are)")
    return value


def _no_pooler(value: str) -> str:
    if "pooler" in parse_qs(urlsplit(value).query):
        raise ValueError("leads to a pooler, where the owner's work needs Postgres itself")
    return value


CommaList = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
DatabaseUrl = Annotated[
    str, _url_of("postgresql", "postgres"), AfterValidator(_tls), AfterValidator(_known_pooler)
]
OwnersDatabaseUrl = Annotated[
    str, _url_of("postgresql", "postgres"), AfterValidator(_tls), AfterValidator(_no_pooler)
]
RedisUrl = Annotated[str, AfterValidator(_redis)]
StorageUrl = Annotated[str, _url_of("file", "s3", "gs", "az")]
SmtpUrl = Annotated[str, _url_of("smtp", "smtps")]
MailAddress = Annotated[str, AfterValidator(_mail_address)]
PublicUrl = Annotated[str, _url_of("http", "https"), AfterValidator(lambda value: value.rstrip("/"))]
MasterKeysText = Annotated[str, AfterValidator(_master_keys)]
