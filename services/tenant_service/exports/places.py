"""Where an export's file lies: below its id, under the number of the attempt that wrote it.

Two attempts never write the same object, so one that was thought dead spoils nothing; and whatever attempts
left behind lies below one prefix.
"""

from uuid import UUID

from mis_models.exports import ExportRow


def below(export_id: UUID) -> str:
    """Return the prefix of all that belongs to an export."""
    return f"exports/{export_id}"


def file_of(row: ExportRow) -> str:
    """Return the key of the export's file."""
    return f"{below(row.id)}/{row.attempt}.zip"
