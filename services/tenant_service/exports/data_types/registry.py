"""Every data type by its name."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from tenant_service.exports.data_types.audit_logs import AUDIT_LOGS
from tenant_service.exports.data_types.configurations import CONFIGURATIONS
from tenant_service.exports.data_types.invoices import INVOICES
from tenant_service.exports.data_types.media import MEDIA
from tenant_service.exports.data_types.shape import DataType, DataTypeName
from tenant_service.exports.data_types.usage import USAGE
from tenant_service.exports.data_types.users import USERS

DATA_TYPES: Final[Mapping[DataTypeName, DataType]] = MappingProxyType(
    {one.name: one for one in (USERS, MEDIA, AUDIT_LOGS, CONFIGURATIONS, USAGE, INVOICES)}
)
