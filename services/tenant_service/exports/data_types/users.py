"""Users as the API shows them; password hashes and whatever else opens an account stay where they are."""

from typing import Final

from mis_models.accounts import UserRow
from tenant_service.exports.data_types.shape import DataType, DataTypeName, Extract, Field, json_field

USERS: Final = DataType(
    DataTypeName.USERS,
    (
        Extract(
            "users",
            UserRow,
            (UserRow.id,),
            (
                Field("id", UserRow.id),
                Field("email", UserRow.email),
                Field("name", UserRow.name),
                Field("role", UserRow.role),
                Field("status", UserRow.status),
                json_field("attributes", UserRow.attributes),
                Field("createdAt", UserRow.created_at),
                Field("updatedAt", UserRow.updated_at),
                Field("lastLoginAt", UserRow.last_login_at),
            ),
            rows_at_once=1_000,
        ),
    ),
)
