"""The books of billing: whatever happens in whatever order, no cent is lost, made or given twice."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from uuid import uuid4

from hypothesis import example, given, settings
from hypothesis import strategies as st

from mis_models.billing import InvoiceRow
from mis_tenancy.plans import GIB, PlanName
from mis_tenancy.session import TenantSession, bind_tenant
from tenant_service.billing.amounts import credits_in
from tenant_service.billing.changes import carry_out, change_to
from tenant_service.billing.opening import bill_period, open_subscription
from tenant_service.billing.overage import Held
from tenant_service.billing.proration import used
from tenant_service.billing.settlement import settle, withdraw
from tenant_service.billing.subscription import begin_period, credits_of, period_of, stay_for, stay_of

START = datetime(2026, 1, 31, 10, tzinfo=UTC)
NOTHING = Held(0, 0)


@dataclass
class Part:
    """What an invoice pays for, reckoned apart and without rounding: so much a month, and so much so far."""

    invoice: InvoiceRow | None
    rate: int
    earned: Fraction = Fraction(0)
    is_void: bool = False


class Books:
    """A tenant's subscription and invoices, kept by the code that keeps them, and how time passes.

    `spent` is what the time on each stay costs, `parts` which invoice was for how much of it, and `running`
    those of now.
    """

    def __init__(self, plan: PlanName, price: int | None, held: Held = NOTHING) -> None:
        # A session that is never flushed: what is asked here are rows, not what a database makes of them.
        self.session = TenantSession()
        bind_tenant(self.session, uuid4())
        self.now = START
        self.subscription, first = open_subscription(self.session, plan, price, START, held)
        self.invoices = [first]
        self.spent = 0
        self.parts = [Part(first, stay_of(self.subscription).rate)]
        self.running = list(self.parts)

    def wait(self, share: Fraction) -> None:
        """Let so much of what is left of the period pass."""
        period = period_of(self.subscription)
        left = (period.end - self.now) // timedelta(microseconds=1)
        until = self.now + timedelta(microseconds=int(left * share))
        rate = stay_of(self.subscription).rate
        self.spent += used(rate, period, until) - used(rate, period, self.now)
        share = Fraction(period.elapsed(until) - period.elapsed(self.now), period.length)
        for part in self.running:
            part.earned += 0 if part.is_void else part.rate * share
        self.now = until

    def change(self, plan: PlanName, price: int | None, held: Held = NOTHING) -> None:
        """Change the plan; what is foretold is what happens."""
        before = self.net
        stay = stay_for(plan, price, held)
        foretold = change_to(self.subscription, stay, self.now)
        invoice = carry_out(self.session, self.subscription, stay, self.now)
        if invoice is not None:
            self.invoices.append(invoice)
        assert self.net == before + foretold.net
        assert (invoice is not None) == (foretold.net > 0)
        self._shift(stay.rate, invoice)

    def renew(self, price: int | None, held: Held = NOTHING) -> None:
        """Let the period end, and the next begin."""
        self.wait(Fraction(1))
        row = self.subscription
        begin_period(row, row.anchor_at, row.period_number + 1)
        self.invoices.append(bill_period(self.session, row, price, held, self.now))
        self.running = [Part(self.invoices[-1], stay_of(row).rate)]
        self.parts += self.running

    def pay(self, number: int) -> None:
        """Pay the invoice, where it is open."""
        invoice = self.invoices[number % len(self.invoices)]
        if invoice.status == "open":
            invoice.status = "paid"
            settle(self.subscription, invoice)

    def void(self, number: int) -> None:
        """Make the invoice void, where it is open; at most what it charged is owed no more."""
        invoice = self.invoices[number % len(self.invoices)]
        if invoice.status == "open":
            before, charged = self.net, charges_of(invoice)
            invoice.status = "void"
            withdraw(self.subscription, invoice)
            assert before - charged <= self.net <= before
            for part in self.parts:
                if part.invoice is invoice:
                    part.is_void, part.earned = True, Fraction(0)

    @property
    def net(self) -> int:
        """What the invoices come to, less the credits that are left."""
        billed = sum(invoice.total for invoice in self.invoices if invoice.status != "void")
        return billed - sum(credit.amount for credit in credits_of(self.subscription))

    @property
    def paid_ahead(self) -> int:
        """What the rest of the period costs."""
        return stay_of(self.subscription).rest(period_of(self.subscription), self.now)

    @property
    def reckoned(self) -> Fraction:
        """What is owed for the time that unvoided invoices are for, to the end of the period."""
        period = period_of(self.subscription)
        left = Fraction(period.length - period.elapsed(self.now), period.length)
        ahead = sum((part.rate * left for part in self.running if not part.is_void), Fraction(0))
        return ahead + sum(part.earned for part in self.parts)

    def _shift(self, rate: int, invoice: InvoiceRow | None) -> None:
        """Let the running parts come to `rate`: the newest give way, and `invoice` is for what is more."""
        self.running = [part for part in self.running if not part.is_void]
        more = rate - sum(part.rate for part in self.running)
        if more > 0:
            self.running.append(Part(invoice, more))
            self.parts.append(self.running[-1])
        while more < 0:
            less = min(-more, self.running[-1].rate)
            self.running[-1].rate -= less
            more += less
            if not self.running[-1].rate:
                self.running.pop()


def charges_of(invoice: InvoiceRow) -> int:
    """Return what the invoice charges, before credits."""
    return invoice.total + sum(credit.amount for credit in credits_in(invoice.lines))


PLANS = st.sampled_from(list(PlanName))
HELD = st.just(NOTHING) | st.builds(Held, st.integers(0, 20_000), st.integers(0, 2_000 * GIB))
MONEY = st.none() | st.integers(0, 40) | st.integers(0, 10**6) | st.integers(0, 10**12)
SHARES = st.just(Fraction(0)) | st.fractions(0, 1)
STAYS = st.tuples(PLANS, MONEY, HELD)
WAIT = st.tuples(st.just(Books.wait), st.tuples(SHARES))
CHANGE = st.tuples(st.just(Books.change), STAYS)
RENEW = st.tuples(st.just(Books.renew), st.tuples(MONEY, HELD))
PAY = st.tuples(st.just(Books.pay), st.tuples(st.integers(0, 50)))
VOID = st.tuples(st.just(Books.void), st.tuples(st.integers(0, 50)))
Step = tuple[Callable[..., None], tuple[object, ...]]


@settings(max_examples=100)
@given(STAYS, st.lists(WAIT | CHANGE | CHANGE | RENEW | PAY, max_size=14))
def test_each_plan_and_what_is_held_above_it_is_paid_for_exactly_as_long_as_it_was_held(
    first: tuple[PlanName, int | None, Held], steps: list[Step]
) -> None:
    books = Books(*first)
    assert books.net == books.paid_ahead
    for step, arguments in steps:
        step(books, *arguments)
        assert books.net == books.spent + books.paid_ahead


BASIC, PREMIUM = (PlanName.BASIC, 2_900, NOTHING), (PlanName.PREMIUM, 29_900, NOTHING)
HALF, UP, DOWN = (Books.wait, (Fraction(1, 2),)), (Books.change, PREMIUM), (Books.change, BASIC)
ON, FIRST, SECOND = (Books.renew, (2_900, NOTHING)), (Books.void, (0,)), (Books.void, (1,))


# What matters most is asked for by name: void before and after the change, late, and its credit used.
@example(BASIC, [HALF, UP, SECOND, HALF, DOWN])
@example(BASIC, [HALF, UP, HALF, DOWN, SECOND, UP])
@example(BASIC, [HALF, UP, HALF, DOWN, ON, HALF, SECOND, UP])
@example(BASIC, [HALF, UP, DOWN, UP, SECOND, ON, (Books.void, (3,)), HALF, DOWN])
@example(PREMIUM, [HALF, FIRST, HALF, DOWN, UP])
@settings(max_examples=200)
@given(STAYS, st.lists(WAIT | CHANGE | CHANGE | RENEW | PAY | VOID | VOID, max_size=16))
def test_credits_are_never_more_than_what_was_charged_and_is_not_void(
    first: tuple[PlanName, int | None, Held], steps: list[Step]
) -> None:
    books = Books(*first)
    for step, arguments in steps:
        step(books, *arguments)
        # And never is more owed than with no invoice void.
        assert 0 <= books.net <= books.spent + books.paid_ahead
        assert abs(books.net - books.reckoned) <= 2 * len(steps) + 2


FEW = st.tuples(PLANS, st.integers(0, 9), st.just(NOTHING))
FEW_STEPS = WAIT | st.tuples(st.just(Books.change), FEW) | VOID


@settings(max_examples=200)
@given(FEW, st.lists(FEW_STEPS, min_size=4, max_size=20))
def test_not_even_a_cent_of_rounding_is_left_when_all_invoices_are_void(
    first: tuple[PlanName, int | None, Held], steps: list[Step]
) -> None:
    books = Books(*first)
    for step, arguments in steps:
        step(books, *arguments)
    for number in range(len(books.invoices)):
        books.void(number)
    # Those that credits had paid for were settled when they were issued.
    assert books.net >= 0
    assert books.net == 0 or any(invoice.status == "paid" for invoice in books.invoices)
