"""How far a load test is, live on standard error, and what it found, in a few lines."""

from types import TracebackType
from typing import Any, Final, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Table
from rich.text import Text

from mis_cli.load.measures import Measures
from mis_cli.load.order import Order
from mis_cli.load.running import Watching

_HEADINGS: Final = (
    "tenant",
    "served",
    "/s",
    "p50 ms",
    "p95 ms",
    "p99 ms",
    "errors",
    "429s",
    "mistakes",
)


class Display:
    """The live display of one test."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._progress = Progress(
            TextColumn("  {task.description}"),
            BarColumn(),
            TextColumn("{task.fields[told]}"),
            console=Console(stderr=True),
        )
        self._making = self._progress.add_task(
            "making tenants", total=order.tenants, told=f"0/{order.tenants}"
        )
        self._traffic: TaskID | None = None

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    @property
    def watching(self) -> Watching:
        """What the test tells."""
        return Watching(self._tenant, self._passed)

    def _tenant(self) -> None:
        self._progress.advance(self._making)
        done = int(self._progress.tasks[self._making].completed)
        self._progress.update(self._making, told=f"{done}/{self._order.tenants}")

    def _passed(self, seconds: float, measures: Measures) -> None:
        if self._traffic is None:
            self._traffic = self._progress.add_task("traffic", total=self._order.seconds, told="")
        total = measures.total
        rate, p95 = total.served / max(seconds, 0.1), total.quantile(0.95)
        told = (
            f"{rate:,.0f}/s, p95 {0 if p95 is None else p95:,.0f} ms, {total.errors} errors, "
            f"{total.limited} 429s, {measures.mistakes_of.total()} isolation mistakes"
        )
        self._progress.update(self._traffic, completed=seconds, told=told)


def show(report: dict[str, Any]) -> None:
    """Print the report for people."""
    table = Table(box=None, pad_edge=False)
    for number, heading in enumerate(_HEADINGS):
        table.add_column(heading, justify="right" if number else "left", no_wrap=not number)
    for row in report["byTenant"]:
        table.add_row(row["slug"], *_figures(row), str(row["mistakes"]))
    table.add_row("all", *_figures(report["total"]), str(report["isolation"]["mistakes"]), style="bold")
    console = Console()
    console.print(table)
    fairness, isolation = report["fairness"], report["isolation"]
    console.print(
        Text(
            f"fairness: index {fairness['throughputIndex']}, largest p99 ÷ smallest {fairness['p99Ratio']}\n"
            f"isolation: {isolation['rowsChecked']} rows and answers looked at, {isolation['foreignAsked']} "
            f"times another tenant's asked for, {isolation['mistakes']} mistakes"
        ),
        soft_wrap=True,
    )
    for one in report["failures"]:
        console.print(Text(f"error: {one['action']}: {one['answer']}, {one['times']} times", "red"))
    for one in isolation["seen"]:
        console.print(Text(f"mistake: {one['tenant']}: {one['action']} showed {one['seen']}", "bold red"))


def _figures(row: dict[str, Any]) -> list[str]:
    times = ["" if row[name] is None else f"{row[name]:,.1f}" for name in ("p50", "p95", "p99")]
    counts = [f"{row['errors']:,}", f"{row['limited']:,}"]
    return [f"{row['served']:,}", f"{row['perSecond']:,.1f}", *times, *counts]
