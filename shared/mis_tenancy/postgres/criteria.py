"""What narrows a select to one tenant: criteria whose tenant is a parameter of the execution.

Since the tenant is no value inside it, a narrowed statement serves every tenant: it is compiled once, and one
that its module keeps is narrowed once. Updates and deletes are narrowed by value (see `session`), because
SQLAlchemy also evaluates their criteria on the objects it holds.
"""

from typing import Any, Final
from uuid import UUID
from weakref import WeakKeyDictionary

from sqlalchemy import Executable, Uuid, bindparam
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import with_loader_criteria
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from mis_tenancy.tables import TenantScoped

# The name of the parameter. It is required: an execution without it fails before anything is sent.
TENANT: Final = "app_tenant_id"
_PARAMETER: Final = bindparam(TENANT, type_=Uuid(), required=True)


class _TenantOfExecution(FunctionElement[UUID]):
    """Stands in a statement for the parameter, which enters it when it is compiled.

    A parameter that stood there itself would be copied, and its copies compared, in every execution.
    """

    inherit_cache = True
    type = _PARAMETER.type


@compiles(_TenantOfExecution)
def _parameter(element: _TenantOfExecution, compiler: SQLCompiler, **options: Any) -> str:
    return compiler.process(_PARAMETER, **options)


CRITERIA: Final = with_loader_criteria(
    TenantScoped, lambda cls: cls.tenant_id == _TenantOfExecution(), include_aliases=True
)

_narrowed: WeakKeyDictionary[Executable, Executable] = WeakKeyDictionary()


def narrowed(statement: Executable) -> Executable:
    """Return the select `statement` with the criteria; it is executed with `TENANT` among its parameters."""
    known = _narrowed.get(statement)
    if known is None:
        known = _narrowed[statement] = statement.options(CRITERIA)
    return known
