"""What a tenant has set of its identity provider; it is opened at each use and kept nowhere in clear."""

from dataclasses import dataclass, field
from typing import Any, Final, Self

from mis_tenancy.tenant import Role

_SCOPES: Final = ("openid", "email", "profile")


@dataclass(frozen=True, slots=True)
class Provider:
    """A tenant's OpenID provider, what people who come from it may become, and whether they must.

    `jit_role` is the role of users that are made when they first come; None where none are made. Without
    `allowed_domains` nobody is linked by e-mail address.
    """

    issuer: str
    client_id: str
    client_secret: str = field(repr=False)
    scopes: tuple[str, ...]
    allowed_domains: frozenset[str]
    jit_role: Role | None
    is_enforced: bool

    @classmethod
    def of(cls, value: dict[str, Any]) -> Self:
        """Return the provider that a value of `sso.oidc` describes."""
        jit = value.get("jit", {"enabled": False})
        return cls(
            issuer=value["issuer"],
            client_id=value["clientId"],
            client_secret=value["clientSecret"],
            scopes=tuple(value.get("scopes", _SCOPES)),
            allowed_domains=frozenset(value.get("allowedDomains", ())),
            jit_role=Role(jit.get("role", Role.MEMBER)) if jit["enabled"] else None,
            is_enforced=value.get("enforce", False),
        )

    def takes(self, address: str) -> bool:
        """Return whether people with such an address may come from it."""
        return not self.allowed_domains or self.vouches_for(address)

    def vouches_for(self, address: str) -> bool:
        """Return whether it says who owns such an address, so that its word opens the account that has it.

        The domain is compared as it is: folded like an account's, `straße.example` were `strasse.example`.
        """
        return address.rpartition("@")[2].lower() in self.allowed_domains
