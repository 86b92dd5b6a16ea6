"""Which invoices pay for the running stay, so that a change gives back what they charged and nothing else.

Each covers a part of what the stay costs a month, until the period's end: the period's own invoice the first
part, one of a change what the stay after it costs more. Where less is to be covered, the newest gives back
first. A part whose invoice is void gives nothing back, and the next change ends it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Self

from mis_models.billing import InvoiceRow
from tenant_service.billing.issuing import Status
from tenant_service.billing.periods import Period
from tenant_service.billing.proration import rest


@dataclass(frozen=True, slots=True)
class Cover:
    """The `rate` cents a month of the running stay that one invoice pays for.

    `invoice` is its number, None where none can become void any more. Of what it charged, changes have given
    `returned` cents back, and `left` are left.
    """

    invoice: int | None
    rate: int
    left: int
    returned: int = 0
    is_void: bool = False

    @classmethod
    def by(cls, invoice: InvoiceRow, rate: int, charged: int) -> Self:
        """Return the cover by an invoice that has just been issued and charges so many cents."""
        return cls(invoice.number if invoice.status == Status.OPEN else None, rate, charged)

    @classmethod
    def loaded(cls, stored: Iterable[dict[str, Any]]) -> tuple[Self, ...]:
        """Return covers as the subscription keeps them."""
        return tuple(
            cls(one["invoice"], one["rate"], one["left"], one["returned"], one["void"]) for one in stored
        )

    def stored(self) -> dict[str, Any]:
        """Return the cover as the subscription keeps it."""
        return {
            "invoice": self.invoice,
            "rate": self.rate,
            "left": self.left,
            "returned": self.returned,
            "void": self.is_void,
        }

    def less(self, rate: int, given_back: int) -> Self:
        """Return the cover of so much less a month, after cents of it were given back."""
        return replace(
            self, rate=self.rate - rate, left=self.left - given_back, returned=self.returned + given_back
        )


def live(covers: Iterable[Cover]) -> tuple[Cover, ...]:
    """Return the covers by what was charged and is not void."""
    return tuple(cover for cover in covers if not cover.is_void)


def rate_of(covers: Iterable[Cover]) -> int:
    """Return the cents a month that are covered."""
    return sum(cover.rate for cover in covers)


def left_of(covers: Iterable[Cover]) -> int:
    """Return the cents that were charged and not given back."""
    return sum(cover.left for cover in covers)


def lowered(
    covers: Sequence[Cover], rate: int, amount: int, period: Period, moment: datetime
) -> tuple[Cover, ...]:
    """Return what covers `rate` from `moment` on, when `amount` is given back for what was covered above it.

    The covers must be live and have that amount left.
    """
    top, kept = rate_of(covers), list[Cover]()
    for cover in reversed(covers):
        bottom = max(rate, top - cover.rate)
        part = min(amount, cover.left, rest(top, period, moment) - rest(bottom, period, moment))
        kept.append(cover.less(top - bottom, part))
        top, amount = bottom, amount - part
    # Parts are rounded each on its own: a cent may be one cover's that another has left.
    for index, cover in enumerate(kept):
        part = min(amount, cover.left)
        kept[index] = cover.less(0, part)
        amount -= part
    return tuple(reversed(kept))


def kept_for_the_next(covers: Iterable[Cover]) -> tuple[Cover, ...]:
    """Return what the next period has to know: the open invoices that changes have given back from."""
    known = (cover for cover in covers if cover.invoice is not None and cover.returned)
    return tuple(replace(cover, rate=0, left=0) for cover in known)


def settled(covers: Iterable[Cover], invoice: int) -> tuple[Cover, ...]:
    """Return the covers when the invoice of that number is paid."""
    return tuple(replace(cover, invoice=None) if cover.invoice == invoice else cover for cover in covers)


def voided(covers: Iterable[Cover], invoice: int) -> tuple[Cover, ...]:
    """Return the covers when the invoice of that number is void."""
    return tuple(
        Cover(None, cover.rate, 0, is_void=True) if cover.invoice == invoice else cover for cover in covers
    )


def returned_of(covers: Iterable[Cover], invoice: int) -> int:
    """Return the cents of the invoice of that number that changes have given back."""
    return sum(cover.returned for cover in covers if cover.invoice == invoice)
