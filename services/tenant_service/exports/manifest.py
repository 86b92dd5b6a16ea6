"""`manifest.json`: what an archive holds, so that whoever reads it can tell whether all of it is there.

The schema's version says how the files' rows are to be read. Fields may be added under the same version; a
change that an older reader would get wrong makes a new one.
"""

from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec

from tenant_service.exports.data_types.shape import DataTypeName
from tenant_service.exports.formats import ExportFormat

MANIFEST: Final = "manifest.json"
SCHEMA_VERSION: Final = 1


class ArchivedTenant(msgspec.Struct, frozen=True, rename="camel"):
    """Whose data it is."""

    id: UUID
    slug: str
    name: str
    plan: str


class ArchivedFile(msgspec.Struct, frozen=True, rename="camel"):
    """One file of the archive: `count` rows in `size` bytes."""

    path: str
    data_type: DataTypeName
    count: int
    size: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True, rename="camel"):
    """The whole document; `counts` are the rows of each data type's own file."""

    schema_version: int
    export_id: UUID
    tenant: ArchivedTenant
    created_at: datetime
    format: ExportFormat
    counts: dict[DataTypeName, int]
    files: list[ArchivedFile]


def written(manifest: Manifest) -> bytes:
    """Return the document as it stands in an archive."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n"
