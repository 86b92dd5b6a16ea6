"""What a load test found, as one document: for machines as it is, for people as a page and a few lines."""

from typing import Any, Final

from mis_cli.load.measures import Tally, jain
from mis_cli.load.order import Order
from mis_cli.load.running import Result

_QUANTILES: Final = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


def document_of(result: Result, order: Order, base_url: str) -> dict[str, Any]:
    """Return the report; times are in milliseconds, of requests that were served."""
    measures, seconds = result.measures, result.seconds
    total = measures.total
    return {
        "baseUrl": base_url,
        "startedAt": result.began.isoformat(timespec="seconds").replace("+00:00", "Z"),
        "seconds": round(seconds, 1),
        "plan": order.plan.value,
        "tenants": order.tenants,
        "usersPerTenant": order.users,
        "workersPerTenant": order.workers,
        "ratePerTenant": order.rate,
        "passed": not measures.mistakes_of and not total.errors,
        "total": _told(total, seconds),
        "isolation": {
            "mistakes": measures.mistakes_of.total(),
            "rowsChecked": measures.rows_checked,
            "foreignAsked": measures.foreign_asked,
            "seen": [
                {"tenant": one.tenant, "action": one.action, "seen": one.seen} for one in measures.mistakes
            ],
        },
        "fairness": _fairness(list(measures.by_tenant.values())),
        "byTenant": [
            {
                "slug": member.slug,
                "id": member.id,
                **_told(measures.by_tenant[member.slug], seconds),
                "mistakes": measures.mistakes_of[member.slug],
            }
            for member in result.members
        ],
        "byAction": [
            {"action": name, **_told(tally, seconds)} for name, tally in sorted(measures.by_action.items())
        ],
        "bySecond": [measures.by_second[second] for second in range(int(seconds))],
        "failures": [
            {"action": action, "answer": answer, "times": times}
            for (action, answer), times in measures.failures.most_common()
        ],
    }


def _told(tally: Tally, seconds: float) -> dict[str, Any]:
    return {
        "requests": tally.requests,
        "served": tally.served,
        "perSecond": round(tally.served / seconds, 1) if seconds else 0.0,
        **{name: tally.quantile(share) for name, share in _QUANTILES.items()},
        "errors": tally.errors,
        "limited": tally.limited,
    }


def _fairness(tallies: list[Tally]) -> dict[str, float | None]:
    """Return Jain's index of what equally busy tenants were served, and how far their p99 lie apart."""
    slowest = sorted(p99 for tally in tallies if (p99 := tally.quantile(0.99)) is not None)
    index = jain(tally.served for tally in tallies)
    return {
        "throughputIndex": None if index is None else round(index, 4),
        "p99Ratio": round(slowest[-1] / slowest[0], 2) if slowest and slowest[0] else None,
    }
