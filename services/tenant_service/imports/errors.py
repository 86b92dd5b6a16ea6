"""The refusals of this feature.

ProblemError
├── ArchiveRefused 422
│   ├── ArchiveMalformed        not a zip file that can be read, or a file in it that cannot
│   ├── ArchiveBomb             it would grow beyond measure
│   ├── ArchiveUnsafe           an entry that no archive of ours has; `reason` says which kind
│   ├── ManifestInvalid         no manifest, or one that contradicts itself or the archive
│   ├── SchemaVersionUnsupported
│   ├── ChecksumMismatch · CountMismatch    a file is not what the manifest says
├── ImportNotFound 404
└── ImportInProgress 409 · TenantNotActive 409
"""

from mis_tenancy.errors import ProblemError


class ArchiveRefused(ProblemError):
    """The archive cannot be imported; nothing has been done with it."""

    status = 422


class ArchiveMalformed(ArchiveRefused):
    """It is no zip file, or is damaged, or a file of it is not written as its name says."""

    code = "archive_malformed"
    detail = "This is not an archive that can be read. Send the zip file of an export as it was downloaded."


class ArchiveBomb(ArchiveRefused):
    """Unpacked it would be larger, or in more parts, than any export of that size."""

    code = "archive_bomb"
    detail = "The archive would unpack to far more than an export of its size does."


class ArchiveUnsafe(ArchiveRefused):
    """It has an entry that an export never has."""

    code = "archive_unsafe"
    detail = (
        "The archive has an entry that no export has; `entry` names it, `reason` says what is wrong with it."
    )


class ManifestInvalid(ArchiveRefused):
    """There is no manifest, or it contradicts itself or the archive."""

    code = "manifest_invalid"
    detail = "manifest.json is missing or does not describe this archive."


class SchemaVersionUnsupported(ArchiveRefused):
    """The archive is written in a way that this version of the suite does not know."""

    code = "schema_version_unsupported"
    detail = "The archive has another schema version than this suite reads; `supported` lists those."


class ChecksumMismatch(ArchiveRefused):
    """A file is not the one that the manifest was written for."""

    code = "checksum_mismatch"
    detail = (
        "A file of the archive is not what its manifest says: it was damaged or changed after the export."
    )


class CountMismatch(ArchiveRefused):
    """A file has more or fewer rows than the manifest says."""

    code = "count_mismatch"
    detail = "A file of the archive has another number of rows than its manifest says."


class ImportNotFound(ProblemError):
    """The tenant has no such import."""

    status = 404
    code = "import_not_found"
    detail = "There is no such import. GET …/imports lists them with their status."


class ImportInProgress(ProblemError):
    """Another import of the tenant has not ended."""

    status = 409
    code = "import_in_progress"
    detail = "An import of this tenant is under way. Wait for it to end."


class TenantNotActive(ProblemError):
    """The tenant was closed between asking for the import and carrying it out."""

    status = 409
    code = "tenant_not_active"
    detail = "The tenant is not active any more, so nothing was imported into it."
