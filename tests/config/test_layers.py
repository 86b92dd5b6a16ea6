"""Whatever is set, dropped and rolled back, what is in force is what a dictionary of layers says."""

from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from mis_tenancy.plans import PLANS, PlanName
from tests.answers import fine, refused
from tests.config.test_configuration import Config
from tests.suite import Suite

PLAN = PlanName.ENTERPRISE
_POLICY = st.fixed_dictionaries(
    {},
    optional={
        "minLength": st.integers(8, 128),
        "requireUppercase": st.booleans(),
        "requireNumbers": st.booleans(),
        "policyMode": st.sampled_from(["composition", "nist"]),
    },
)
_FREE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=6,
)
_VALUES = {
    "security.password_policy": _POLICY,
    "session.timeout": st.integers(60, 10**6),
    "api.rate_limit": st.none() | st.integers(1, 10**9),
    "features.ai_verification": st.booleans(),
    "app.one": _FREE,
    "app.two": _FREE,
}


def _steps(keys: list[str]) -> st.SearchStrategy[list[tuple[Any, ...]]]:
    """Return what may be done to a few keys: few, so that their versions pile up."""
    key = st.sampled_from(keys)
    put = key.flatmap(lambda one: st.tuples(st.just("put"), st.just(one), _VALUES[one]))
    drop = st.tuples(st.just("drop"), key, st.none())
    roll_back = st.tuples(st.just("roll_back"), key, st.integers(1, 5))
    return st.lists(put | drop | roll_back, min_size=6, max_size=14)


_STEPS = st.sampled_from(sorted(_VALUES)).flatmap(lambda known: _steps([known, "app.one"]))


class Model:
    """What the configuration should be: the plan's layer and, per key, every value it ever had."""

    REMOVED: Any = object()

    def __init__(self) -> None:
        self.plan: dict[str, Any] = dict(PLANS[PLAN].configuration)
        self.versions: dict[str, list[Any]] = {key: [] for key in _VALUES}

    def own(self, key: str) -> Any:
        return self.versions[key][-1] if self.versions[key] else Model.REMOVED

    def in_force(self, key: str) -> Any:
        own, base = self.own(key), self.plan.get(key, Model.REMOVED)
        if own is Model.REMOVED:
            return base
        return base | own if isinstance(base, dict) else own


async def _do(model: Model, config: Config, step: str, key: str, value: Any) -> None:
    """Take one step in both worlds."""
    if step == "put":
        fine(await config.put(key, value))
        model.versions[key].append(value)
    elif step == "drop" and model.own(key) is Model.REMOVED:
        refused(await config.drop(key), 404, "config_not_found")
    elif step == "drop":
        fine(await config.drop(key), 204)
        model.versions[key].append(Model.REMOVED)
    elif value > len(model.versions[key]):
        refused(await config.roll_back(key, value), 404, "config_version_not_found")
    else:
        await _roll_back(model, config, key, value)


async def _roll_back(model: Model, config: Config, key: str, number: int) -> None:
    past = model.versions[key][number - 1]
    shown = fine(await config.roll_back(key, number))
    if past is not Model.REMOVED or model.own(key) is not Model.REMOVED:
        model.versions[key].append(past)
    expected = model.in_force(key)
    assert shown["configValue"] == (None if expected is Model.REMOVED else expected)


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@example(steps=[("put", "app.one", 1), ("drop", "app.one", None), ("roll_back", "app.one", 2)])
@given(steps=_STEPS)
async def test_the_configuration_in_force_is_that_of_the_model(
    suite: Suite, steps: list[tuple[Any, ...]]
) -> None:
    tenant = await suite.tenant(PLAN.value)
    config, model = Config(suite, tenant, suite.operator), Model()
    for step, key, value in steps:
        await _do(model, config, step, key, value)
    listed = fine(await config.client.get(config.path, headers=config.headers))
    shown = {one["configKey"]: one for one in listed}
    for key in _VALUES:
        expected = model.in_force(key)
        if expected is Model.REMOVED:
            assert key not in shown
        else:
            assert shown[key]["configValue"] == expected
            assert shown[key]["source"] == ("plan" if model.own(key) is Model.REMOVED else "tenant")
        history = await config.history(key, order="asc")
        if model.versions[key]:
            values = [Model.REMOVED if one["deleted"] else one["configValue"] for one in fine(history)]
            assert values == model.versions[key]
