"""Opens the store that a URL names: where it is, how it is reached, and for how long it is waited for."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final
from urllib.parse import unquote, urlsplit

from obstore.exceptions import BaseError
from obstore.store import LocalStore, MemoryStore, ObjectStore, from_url

from mis_tenancy.objects.local import LocalObjects
from mis_tenancy.settings import SettingsError

# Whether a store is reached over TLS is said by its endpoint's URL, as to every other client of it.
_CLIENT: Final = {
    "allow_http": True,
    "connect_timeout": timedelta(seconds=5),
    "timeout": timedelta(seconds=60),
}
_RETRIES: Final = {"max_retries": 3, "retry_timeout": timedelta(seconds=30)}


@dataclass(frozen=True, slots=True)
class StoreAccess:
    """How a store that speaks S3 is reached: its URL, and keys to it.

    What is None comes from where the cloud's own client finds it, such as the machine's role.
    """

    endpoint: str | None = None
    access_key: str | None = None
    secret_key: str | None = field(default=None, repr=False)

    def config(self) -> dict[str, str]:
        """Return it in the client's words."""
        named = {
            "endpoint": self.endpoint,
            "access_key_id": self.access_key,
            "secret_access_key": self.secret_key,
        }
        return {name: value for name, value in named.items() if value is not None}


def open_store(url: str, access: StoreAccess) -> tuple[ObjectStore, LocalObjects | None]:
    """Return the store, and the directory's guard where it is one; raise SettingsError."""
    parts, config = urlsplit(url), access.config()
    if config and parts.scheme != "s3":
        raise SettingsError(
            "MIS_STORAGE_ENDPOINT and its keys are for s3:// stores only. Leave them out, or change "
            "MIS_STORAGE_URL."
        )
    try:
        if parts.scheme == "file":
            local = LocalObjects(unquote(parts.path), parts.netloc)
            return LocalStore(local.root), local
        if parts.scheme == "memory":
            return MemoryStore(), None
        return from_url(url, client_options=_CLIENT, retry_config=_RETRIES, **config), None  # type: ignore[call-overload]  # one call for every cloud
    except (BaseError, OSError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise SettingsError(
            f"MIS_STORAGE_URL: no store can be opened there ({reason}). "
            "Set it to file:///a/directory or s3://bucket/prefix."
        ) from error
