"""Every data type by its name.

Nothing can be stored as media until that feature is there: such a type has no tables, and an archive that was
asked for it says 0 rows.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from tenant_service.exports.data_types.audit_logs import AUDIT_LOGS
from tenant_service.exports.data_types.configurations import CONFIGURATIONS
from tenant_service.exports.data_types.invoices import INVOICES
from tenant_service.exports.data_types.shape import DataType, DataTypeName
from tenant_service.exports.data_types.usage import USAGE
from tenant_service.exports.data_types.users import USERS

_MEDIA: Final = DataType(DataTypeName.MEDIA, ())

DATA_TYPES: Final[Mapping[DataTypeName, DataType]] = MappingProxyType(
    {one.name: one for one in (USERS, _MEDIA, AUDIT_LOGS, CONFIGURATIONS, USAGE, INVOICES)}
)
