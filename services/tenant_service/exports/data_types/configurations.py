"""The tenant's own configuration and its versions; of a secret only that it is one, and its fingerprint."""

from typing import Final

from sqlalchemy import case, null

from mis_tenancy.tables import ConfigurationRow, ConfigurationVersionRow
from tenant_service.exports.data_types.shape import DataType, DataTypeName, Extract, Field, json_field

# A value may take 64 KiB.
_ROWS_AT_ONCE: Final = 100


def _shown(table: type[ConfigurationRow] | type[ConfigurationVersionRow]) -> tuple[Field, ...]:
    fingerprint = table.config_value["fingerprint"].as_string()
    return (
        Field("configKey", table.config_key),
        Field("version", table.version),
        json_field("configValue", table.config_value, secret_where=table.is_encrypted),
        Field("isEncrypted", table.is_encrypted),
        # A value that is no secret may have a member of that name too.
        Field("fingerprint", case((table.is_encrypted, fingerprint), else_=null())),
        Field("createdAt", table.created_at),
    )


CONFIGURATIONS: Final = DataType(
    DataTypeName.CONFIGURATIONS,
    (
        Extract(
            "configurations",
            ConfigurationRow,
            (ConfigurationRow.config_key,),
            (*_shown(ConfigurationRow), Field("updatedAt", ConfigurationRow.updated_at)),
            rows_at_once=_ROWS_AT_ONCE,
        ),
        Extract(
            "configuration_versions",
            ConfigurationVersionRow,
            (ConfigurationVersionRow.config_key, ConfigurationVersionRow.version),
            (
                *_shown(ConfigurationVersionRow),
                Field("deleted", ConfigurationVersionRow.deleted),
                Field("changedBy", ConfigurationVersionRow.changed_by),
            ),
            rows_at_once=_ROWS_AT_ONCE,
        ),
    ),
)
