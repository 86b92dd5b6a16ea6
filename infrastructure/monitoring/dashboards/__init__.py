"""The dashboards as data, by the names of the files that they are rendered into."""

from typing import Final

from dashboards.isolation import ISOLATION
from dashboards.neighbours import NEIGHBOURS
from dashboards.platform import PLATFORM
from dashboards.tenant import TENANT

ALL: Final = {
    "platform": PLATFORM,
    "tenant": TENANT,
    "neighbours": NEIGHBOURS,
    "isolation": ISOLATION,
}
