"""Files as the API shows them; their objects stand beside their rows in the archive, each by its id."""

from typing import Final

from mis_models.media import MediaRow
from tenant_service.exports.data_types.shape import DataType, DataTypeName, Extract, Field

MEDIA: Final = DataType(
    DataTypeName.MEDIA,
    (
        Extract(
            "media",
            MediaRow,
            (MediaRow.id,),
            (
                Field("id", MediaRow.id),
                Field("filename", MediaRow.filename),
                Field("contentType", MediaRow.content_type),
                Field("size", MediaRow.size),
                Field("sha256", MediaRow.sha256),
                Field("ownerId", MediaRow.owner_id),
                Field("createdAt", MediaRow.created_at),
            ),
        ),
    ),
    has_objects=True,
)

# What is read to find the objects: few at a time, because between two reads all their bytes go by.
OBJECTS: Final = Extract("objects", MediaRow, (MediaRow.id,), (Field("id", MediaRow.id),), rows_at_once=50)
