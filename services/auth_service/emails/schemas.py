"""Bodies of the address routes."""

from auth_service.invitations.schemas import LinkTokenText
from mis_http.schemas import RequestBody


class ConfirmationIn(RequestBody):
    """The token of the link that was mailed to the new address."""

    token: LinkTokenText
