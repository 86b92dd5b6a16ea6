"""The gateways of compose, Kubernetes and `mis run` lead the same paths to the services that answer there."""

import re
from pathlib import Path
from typing import Final

import yaml  # type: ignore[import-untyped]
from fastapi import FastAPI

from mis_cli.gateway import Service
from mis_cli.serving.composition import PORTS, compose
from mis_cli.serving.description import PAGES, unconnected
from mis_http.service.documentation import DESCRIPTION, PAGE
from tests.isolation.test_matrix import PROBES, api_routes

ROOT: Final = Path(__file__).resolve().parents[2]
CADDYFILE: Final = (ROOT / "infrastructure" / "gateway" / "Caddyfile").read_text()

# A path, and whether what lies below it goes the same way.
Table = dict[tuple[str, bool], str]


def by_compose() -> Table:
    """Read the Caddyfile: matchers of paths, and what handles them."""
    named = dict(re.findall(r"^\t@(\w+) path (.+)$", CADDYFILE, re.MULTILINE))
    handled = dict(re.findall(r"^\thandle @(\w+) \{\n(.*?)^\t\}$", CADDYFILE, re.MULTILINE | re.DOTALL))
    assert named.keys() == handled.keys()
    table: Table = {}
    for name, paths in named.items():
        proxied = re.search(r"reverse_proxy (\S+) ", handled[name])
        assert proxied or "file_server" in handled[name]
        for path in paths.split():
            led_to = proxied[1] if proxied else f"description:{PORTS['description']}"
            table[path.removesuffix("/*"), path.endswith("/*")] = led_to
    return {(path, below): led for (path, below), led in table.items() if below or (path, True) not in table}


def by_kubernetes() -> Table:
    (route,) = yaml.safe_load_all((ROOT / "k8s" / "base" / "route.yaml").read_text())
    table: Table = {}
    for rule in route["spec"]["rules"]:
        (backend,) = rule["backendRefs"]
        for match in rule["matches"]:
            path = match["path"]
            table[path["value"], path["type"] == "PathPrefix"] = f"{backend['name']}:{backend['port']}"
    return table


def services() -> list[Service]:
    return list(compose(unconnected()).services)


def by_run() -> Table:
    table: Table = {
        (prefix, True): f"{one.name}-service:{PORTS[one.name]}"
        for one in services()
        for prefix in one.prefixes
    }
    described = f"description:{PORTS['description']}"
    # The page, what it is made of, and the document that it shows.
    assert all(path in (DESCRIPTION, PAGE) or path.startswith(f"{PAGE}/") for path in PAGES)
    return table | {(DESCRIPTION, False): described, (PAGE, True): described}


def test_all_gateways_have_the_same_table() -> None:
    assert by_compose() == by_kubernetes() == by_run()


def test_a_service_answers_below_each_of_its_prefixes_and_nowhere_else() -> None:
    for service in services():
        assert isinstance(service.app, FastAPI)
        paths = {route.path for route in api_routes(service.app)}
        assert [path for path in paths if not service.owns(path)] == []
        for prefix in service.prefixes:
            assert any(path == prefix or path.startswith(f"{prefix}/") for path in paths), prefix


def test_no_gateway_shows_what_is_for_those_who_run_it() -> None:
    for path, below in by_compose().keys() | by_kubernetes().keys():
        assert not [probe for probe in PROBES if probe == path or (below and probe.startswith(path))]
