"""A tenant's pages: each in its look, with forms that hold what the browser's cookie is bound to."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import Depends
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from auth_service.authority import Authority, AuthorityOf
from auth_service.errors import LoginThrottled
from auth_service.html.rendering import rendered
from auth_service.html.words import waiting_time
from auth_service.passkeys.dependencies import ArrivalOf
from auth_service.sessions.refresh_tokens import RefreshToken
from auth_service.sign_in import cookies
from auth_service.sign_in.forms import form_token
from auth_service.sign_in.next_path import safe_path
from auth_service.sign_in.visitor import Visitor
from auth_service.sign_in.visits import CookieOf
from auth_service.sso.enforcing import SsoUse, sso_use
from mis_http.looks import Look, logo_url, look_shown
from mis_models.factors import PasskeyRow
from mis_tenancy.errors import ProblemError
from mis_tenancy.fastapi import Admitted, CurrentTenant
from mis_tenancy.plans import Feature
from mis_tenancy.tenant import SourceKind, Tenant

SIGN_IN = "/login"
_WRONG = "The e-mail address or the password is wrong."
_WORDS = {"sso_required": "Your organisation signs you in by single sign-on alone."}
_WRONG_CODE = "The code is wrong, or was used already."
_SCRIPTS = Path(__file__).parents[1] / "factor_pages/templates"
_PASSKEY_FORM = (_SCRIPTS / "passkey_form.js").read_text(encoding="utf-8")
_PASSKEY_SIGN_IN = _PASSKEY_FORM + (_SCRIPTS / "passkey_sign_in.js").read_text(encoding="utf-8")
_PASSKEY_REGISTRATION = _PASSKEY_FORM + (_SCRIPTS / "passkey_registration.js").read_text(encoding="utf-8")


class Pages:
    """The pages of `tenant`, for the browser whose cookie is `cookie`.

    `is_named_by_query` tells that addresses have to go on naming the tenant, `sso` how far it has single
    sign-on, `has_passkeys` that browsers keep passkeys of it for this host.
    """

    def __init__(
        self,
        authority: Authority,
        tenant: Tenant,
        look: Look,
        cookie: str | None,
        *,
        is_named_by_query: bool,
        sso: SsoUse,
        has_passkeys: bool,
    ) -> None:
        self._sso = sso
        self._authority = authority
        self._tenant = tenant
        self._look = look
        self._cookie = cookie
        self._has_passkeys = has_passkeys
        self._named = {"tenant": tenant.slug} if is_named_by_query else {}

    def show(
        self, template: str, *, status: int = 200, headers: dict[str, str] | None = None, **values: Any
    ) -> HTMLResponse:
        """Return a page of the tenant; its template can use `organisation`, `csrf`, `address` and `logo`."""
        cookie = self._cookie or cookies.strangers_text()
        page = rendered(
            template,
            look=self._look,
            status=status,
            headers=headers,
            organisation=self._look.name or self._tenant.slug,
            logo=logo_url(self._tenant.slug, self._look.logo),
            csrf=form_token(self._authority, cookie),
            address=self.address,
            **values,
        )
        if self._cookie is None:
            cookies.keep(page, cookie)
        return page

    def address(self, path: str = SIGN_IN, **query: str | None) -> str:
        """Return the address of a page of ours, which names the tenant where the browser's did."""
        named = {**self._named, **{name: value for name, value in query.items() if value}}
        return f"{path}?{urlencode(named)}" if named else path

    def form(
        self,
        next_path: str | None,
        *,
        email: str = "",
        refusal: ProblemError | None = None,
        wrong: str = _WRONG,
        notice: str | None = None,
    ) -> HTMLResponse:
        """Return the form to sign in with, and why the last try was refused; `wrong` says what was wrong."""
        return self.show(
            "sign_in/templates/form.html",
            status=200 if refusal is None else refusal.status,
            headers=None if refusal is None else refusal.headers,
            next_path=safe_path(next_path),
            email=email,
            problem=None if refusal is None else _said(refusal, wrong),
            notice=notice,
            sso=self._sso,
            has_passkeys=self._has_passkeys,
            script=_PASSKEY_SIGN_IN if self._has_passkeys else "",
        )

    def second_step(
        self, token: str, next_path: str | None, refusal: ProblemError | None = None
    ) -> HTMLResponse:
        """Return the form for the second factor of the sign-in that `token` waits for."""
        return self.show(
            "factor_pages/templates/second_step.html",
            status=200 if refusal is None else refusal.status,
            headers=None if refusal is None else refusal.headers,
            token=token,
            next_path=safe_path(next_path),
            problem=None if refusal is None else _said(refusal, _WRONG_CODE),
        )

    def signed_in(
        self, visitor: Visitor, next_path: str | None, passkeys: Sequence[PasskeyRow]
    ) -> HTMLResponse:
        """Return the page that tells the visitor who they are, and by which passkeys they can sign in."""
        return self.show(
            "sign_in/templates/signed_in.html",
            visitor=visitor,
            place=self._tenant.name,
            next_path=safe_path(next_path),
            passkeys=passkeys,
            has_passkeys=self._has_passkeys,
            script=_PASSKEY_REGISTRATION if self._has_passkeys else "",
        )

    def enter(self, token: RefreshToken, next_path: str | None) -> Response:
        """Send the browser on with its new session, which takes the place of whatever its cookie held."""
        answer = self.redirect(safe_path(next_path) or self.address())
        cookies.keep(answer, token.text)
        return answer

    def leave(self) -> Response:
        """Send the browser back to the form, without a cookie."""
        answer = self.redirect(self.address(notice="signed-out"))
        cookies.drop(answer)
        return answer

    def redirect(self, address: str) -> Response:
        """Send the browser to an address, which it then GETs (RFC 9110 §15.4.4)."""
        return RedirectResponse(address, status_code=303, headers={"Cache-Control": "no-store"})


def _said(refusal: ProblemError, wrong: str) -> str:
    if isinstance(refusal, LoginThrottled):
        return f"Too many failed tries. Try again in {waiting_time(int(refusal.headers['Retry-After']))}."
    return _WORDS.get(refusal.code, wrong)


async def pages(
    authority: AuthorityOf, tenant: CurrentTenant, admitted: Admitted, cookie: CookieOf, came_to: ArrivalOf
) -> Pages:
    """Return the pages of the tenant that the request names."""
    look = await look_shown(authority.tenancy.database, tenant)
    sso = await sso_use(authority, tenant)
    named = any(source.kind is SourceKind.QUERY for source in admitted.sources)
    keeps = tenant.has(Feature.BIOMETRIC_AUTH) and came_to.has_passkeys_of(tenant)
    return Pages(authority, tenant, look, cookie, is_named_by_query=named, sso=sso, has_passkeys=keeps)


PagesOf = Annotated[Pages, Depends(pages)]
