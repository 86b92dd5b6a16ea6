"""The tenant's invoices as they were issued, with their lines."""

from typing import Final

from sqlalchemy import Text, cast, func

from mis_models.billing import InvoiceRow
from tenant_service.exports.data_types.shape import DataType, DataTypeName, Extract, Field, json_field

_COUNT: Final = cast(InvoiceRow.number, Text)
# As `tenant_service.billing.issuing.number_of` writes it.
_NUMBER: Final = func.concat(
    "INV-",
    func.upper(func.right(cast(InvoiceRow.tenant_id, Text), 8)),
    "-",
    func.lpad(_COUNT, func.greatest(4, func.length(_COUNT)), "0"),
)

INVOICES: Final = DataType(
    DataTypeName.INVOICES,
    (
        Extract(
            "invoices",
            InvoiceRow,
            (InvoiceRow.id,),
            (
                Field("id", InvoiceRow.id),
                Field("number", _NUMBER),
                Field("status", InvoiceRow.status),
                Field("periodStart", InvoiceRow.period_start),
                Field("periodEnd", InvoiceRow.period_end),
                Field("issuedAt", InvoiceRow.issued_at),
                Field("dueAt", InvoiceRow.due_at),
                Field("paidAt", InvoiceRow.paid_at),
                Field("paidThrough", InvoiceRow.paid_through),
                Field("paymentReference", InvoiceRow.payment_reference),
                Field("voidedAt", InvoiceRow.voided_at),
                json_field("lines", InvoiceRow.lines),
                Field("total", InvoiceRow.total),
                Field("currency", InvoiceRow.currency),
            ),
        ),
    ),
)
