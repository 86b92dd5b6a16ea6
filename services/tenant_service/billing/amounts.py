"""Lines, credits and the bill they make, in whole US cents.

A bill never asks for less than nothing: of a credit it takes what it can use, and the rest waits for the next
one. So whatever happens, what was billed less what credits are left is what was charged. A credit that was
not due after all, and is taken off already, is a negative one: the next bill adds it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, Final, Self

CURRENCY: Final = "USD"
_MARK: Final = "takesBack"


@dataclass(frozen=True, slots=True)
class Line:
    """One line: `quantity` units of `unit_amount` cents each, which is negative where it gives back.

    `takes_back` marks a negative credit: no charge of the invoice's own.
    """

    description: str
    unit_amount: int
    quantity: int = 1
    takes_back: bool = False

    @property
    def amount(self) -> int:
        """What the line comes to."""
        return self.quantity * self.unit_amount

    def stored(self) -> dict[str, Any]:
        """Return the line as the invoice keeps it."""
        line = {
            "description": self.description,
            "quantity": self.quantity,
            "unitAmount": self.unit_amount,
            "amount": self.amount,
        }
        return line | {_MARK: True} if self.takes_back else line


@dataclass(frozen=True, slots=True)
class Credit:
    """What is owed to the tenant until invoices have taken all of it off, or, where negative, by it."""

    description: str
    amount: int

    @classmethod
    def loaded(cls, stored: Iterable[dict[str, Any]]) -> list[Self]:
        """Return credits as the subscription keeps them."""
        return [cls(one["description"], one["amount"]) for one in stored]

    def stored(self) -> dict[str, Any]:
        """Return the credit as the subscription keeps it."""
        return {"description": self.description, "amount": self.amount}


@dataclass(frozen=True, slots=True)
class Bill:
    """What is to be paid, and the credits that are left for the next bill."""

    lines: tuple[Line, ...]
    credits: tuple[Credit, ...]

    @property
    def total(self) -> int:
        """What the lines come to; never negative."""
        return total_of(self.lines)


def credits_in(stored: Sequence[dict[str, Any]]) -> list[Credit]:
    """Return the credits that an invoice has taken: on every bill they stand behind the last charge."""
    taken = list(takewhile(lambda line: line["amount"] < 0 or _MARK in line, reversed(stored)))
    return [Credit(line["description"], -line["amount"]) for line in reversed(taken)]


def taken_back(credits: Sequence[Credit], amount: int, why: str) -> list[Credit]:
    """Return the credits less `amount`, the newest first; what is not there becomes negative."""
    kept = list[Credit]()
    for credit in reversed(credits):
        part = min(amount, max(0, credit.amount))
        amount -= part
        if credit.amount != part:
            kept.append(Credit(credit.description, credit.amount - part))
    return [*reversed(kept), *([Credit(why, -amount)] if amount else [])]


def total_of(lines: Iterable[Line]) -> int:
    """Return what lines come to."""
    return sum(line.amount for line in lines)


def bill(charges: Sequence[Line], credits: Sequence[Credit]) -> Bill:
    """Return the bill for `charges`, which may not be negative in all, less the credits, oldest first.

    Negative ones come before all others, which may be taken off them too.
    """
    due = total_of(charges)
    lines, left = list(charges), []
    for credit in sorted(credits, key=lambda one: one.amount > 0):
        taken = min(due, credit.amount)
        due -= taken
        if taken:
            lines.append(Line(credit.description, -taken, takes_back=taken < 0))
        if taken < credit.amount:
            left.append(Credit(credit.description, credit.amount - taken))
    return Bill(tuple(lines), tuple(left))
