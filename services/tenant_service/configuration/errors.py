"""The refusals of configuration, drawn as a tree.

ProblemError
├── FieldRefused 422
│   ├── ConfigInvalid       a known key does not take this value
│   └── ConfigKeyUnknown    a known namespace has no such key
├── ConfigMayOnlyTighten 403 · ConfigExceedsPlan 403
├── ConfigNotFound 404 · ConfigVersionNotFound 404
└── ConfigUndecryptable 409
"""

from mis_tenancy.errors import ProblemError
from tenant_service.errors import FieldRefused


class ConfigInvalid(FieldRefused):
    """A known key does not take this value."""

    code = "config_invalid"
    detail = "The key does not take this value."


class ConfigKeyUnknown(FieldRefused):
    """The key claims one of our namespaces without being one of its keys."""

    code = "config_key_unknown"
    detail = "This namespace is the platform's and has no such key. GET …/config lists its keys."


class ConfigMayOnlyTighten(ProblemError):
    """A member tried to make a protection weaker than the plan's."""

    status = 403
    code = "config_may_only_tighten"
    detail = "Members may make this stricter than the plan's value, never weaker. An operator may."


class ConfigExceedsPlan(ProblemError):
    """A member tried to take more than the plan gives."""

    status = 403
    code = "config_exceeds_plan"
    detail = "Members may not exceed the plan's value. Move to a larger plan, or ask an operator."


class ConfigNotFound(ProblemError):
    """The key has no value, neither of the tenant's nor from its plan."""

    status = 404
    code = "config_not_found"
    detail = "This tenant has no such configuration key. GET …/config lists those it has."


class ConfigVersionNotFound(ProblemError):
    """The key never had this version."""

    status = 404
    code = "config_version_not_found"
    detail = "This key has no such version. GET …/history lists its versions."


class ConfigUndecryptable(ProblemError):
    """A stored secret is damaged, or was made for another tenant, key or key version."""

    status = 409
    code = "config_undecryptable"
    detail = "The stored value does not decrypt here: it is damaged or made for another place. Set it anew."
