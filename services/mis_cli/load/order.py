"""What a load test is to be: where, how many tenants, how busy, for how long."""

from dataclasses import dataclass, field

from mis_tenancy.plans import PlanName


class LoadError(RuntimeError):
    """The test cannot be carried out; the message says which step was refused and why."""


@dataclass(frozen=True, slots=True)
class Suite:
    """Where a suite is, and who makes tenants there."""

    base_url: str
    operator_email: str
    operator_password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Order:
    """One load test; `rate` is requests a second of each tenant, None for as many as its workers manage.

    `workers` of each tenant ask one thing after another. `users` counts the owner, and `sign_ins` of them
    have a password and work.
    """

    tenants: int
    users: int
    plan: PlanName
    seconds: float
    workers: int
    rate: float | None
    sign_ins: int
