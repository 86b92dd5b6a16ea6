"""Renders the dashboards into the files that Grafana is provisioned with: `make dashboards`."""

import json
from pathlib import Path
from typing import Final

from dashboards import ALL

RENDERED: Final = Path(__file__).resolve().parent / "grafana" / "dashboards"


def main() -> None:
    """Write a file for each dashboard."""
    for name, dashboard in ALL.items():
        text = json.dumps(dashboard.document(), indent=1, ensure_ascii=False)
        (RENDERED / f"{name}.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
