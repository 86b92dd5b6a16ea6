"""What `mis distribute` has left to do, wherever it was stopped, worked out on a catalogue made of sets."""

from dataclasses import replace

import pytest

from mis_cli.distribution.layout import DIRECTORY, keys, spread_names
from mis_cli.distribution.plan import SETTINGS, Action, Facts, Step, plan

EVERY_KEY = frozenset((key.table.name, str(key.name)) for key in keys())
FRESH = Facts(
    database="mis_db",
    settings=frozenset(),
    placed=frozenset(),
    keys=EVERY_KEY,
    left_behind=frozenset(),
    is_founded=False,
    tied=frozenset(),
)


def after(facts: Facts, step: Step) -> Facts:
    """Return what the catalogue says once a step is done, as Citus leaves it."""
    match step.action:
        case Action.SET:
            return replace(facts, settings=facts.settings | {f"{step.subject}={SETTINGS[step.subject]}"})
        case Action.DROP_KEY:
            return replace(facts, keys=facts.keys - {key_of(step)})
        case Action.REPLICATE | Action.SPREAD:
            moved = {step.subject}
            return replace(facts, placed=facts.placed | moved, left_behind=facts.left_behind | moved)
        case Action.CLEAR:
            return replace(facts, left_behind=facts.left_behind - {step.subject})
        case Action.ADD_KEY:
            return replace(facts, keys=facts.keys | {key_of(step)})
        case Action.FOUND:
            return replace(facts, is_founded=True)
        case Action.TIE:
            return replace(facts, tied=facts.tied | {step.subject})


def key_of(step: Step) -> tuple[str, str]:
    table, _, name = step.subject.partition(".")
    return table, name


def refuses(facts: Facts, step: Step) -> bool:
    """Return whether the step comes too early: Citus moves no table that a key still ties to another."""
    if step.action in (Action.REPLICATE, Action.SPREAD):
        ends = {key: {key.table.name, key.referred_table.name} for key in keys()}
        return any((k.table.name, str(k.name)) in facts.keys and step.subject in ends[k] for k in keys())
    if step.action is Action.ADD_KEY:
        named = next(key for key in keys() if (key.table.name, str(key.name)) == key_of(step))
        return not {named.table.name, named.referred_table.name} <= facts.placed
    if step.action is Action.TIE:
        return not facts.is_founded
    return False


def carried_out(facts: Facts, steps: list[Step]) -> Facts:
    for step in steps:
        assert not refuses(facts, step), step
        facts = after(facts, step)
    return facts


def test_a_plan_leads_to_a_distributed_database_with_all_its_keys() -> None:
    done = carried_out(FRESH, plan(FRESH, 32))
    assert done.placed == spread_names() | {DIRECTORY}
    assert done.keys == EVERY_KEY
    assert not done.left_behind
    assert {"jobs", "outbox", "revocations", "schedules", "platform_audit_logs"} <= done.tied
    assert not done.tied & done.placed
    assert plan(done, 32) == []


@pytest.mark.parametrize("stopped_after", range(0, len(plan(FRESH, 32)), 7))
def test_a_run_that_was_stopped_anywhere_goes_on_to_the_same_end(stopped_after: int) -> None:
    steps = plan(FRESH, 32)
    half = carried_out(FRESH, steps[:stopped_after])
    assert carried_out(half, plan(half, 32)) == carried_out(FRESH, steps)


def test_all_tables_lie_with_the_first_one() -> None:
    first, *others = [step for step in plan(FRESH, 64) if step.action is Action.SPREAD]
    assert "shard_count => 64, colocate_with => 'none'" in first.sql
    assert all(f"colocate_with => '{first.subject}'" in step.sql for step in others)


def test_a_table_that_came_later_goes_beside_the_others_and_no_other_is_touched() -> None:
    done = carried_out(FRESH, plan(FRESH, 32))
    later = replace(done, placed=done.placed - {"webhook_deliveries"})
    steps = plan(later, 32)
    assert {step.subject.partition(".")[0] for step in steps} == {"webhook_deliveries"}
    assert carried_out(later, steps) == done


def test_only_rows_left_behind_are_cleared_where_a_move_was_cut_off_before_that() -> None:
    done = carried_out(FRESH, plan(FRESH, 32))
    (step,) = plan(replace(done, left_behind=frozenset({"users"})), 32)
    assert (step.action, step.subject) == (Action.CLEAR, "users")
