"""A real OpenID provider on loopback, built with Authlib, which can be told to misbehave.

It signs in whoever `person` says, without asking for a password, and answers over HTTP like any provider.
"""

import asyncio
import secrets
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import uvicorn
from authlib.oauth2.rfc6749 import (
    AuthorizationServer,
    ClientMixin,
    OAuth2Payload,
    OAuth2Request,
)
from authlib.oauth2.rfc6749.grants import AuthorizationCodeGrant
from authlib.oauth2.rfc6750 import BearerTokenGenerator
from authlib.oauth2.rfc7636 import CodeChallenge
from authlib.oidc.core import AuthorizationCodeMixin, UserInfo
from authlib.oidc.core.grants import OpenIDCode
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, RSAKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.integration.wire import Server


class Payload(OAuth2Payload):  # type: ignore[misc]  # Authlib ships no types
    def __init__(self, values: dict[str, str]) -> None:
        self._values = values

    @property
    def data(self) -> dict[str, str]:
        return self._values

    @property
    def datalist(self) -> dict[str, list[str]]:
        return defaultdict(list, {name: [value] for name, value in self._values.items()})


class Asked(OAuth2Request):  # type: ignore[misc]  # as above
    """A request as Authlib reads it; it takes loopback for safe only over TLS, so it is told so."""

    def __init__(self, request: Request, form: dict[str, str]) -> None:
        super().__init__(request.method, f"https://provider.test{request.url.path}", headers=request.headers)
        query = dict(request.query_params)
        self._values = form
        self._query = query
        self.payload = Payload(query | form)

    @property
    def args(self) -> dict[str, str]:
        return self._query

    @property
    def form(self) -> dict[str, str]:
        return self._values


@dataclass
class Client(ClientMixin):  # type: ignore[misc]  # as above
    client_id: str
    secret: str
    methods: tuple[str, ...] = ("client_secret_basic", "client_secret_post")

    def get_client_id(self) -> str:
        return self.client_id

    def get_default_redirect_uri(self) -> str:
        return ""

    def get_allowed_scope(self, scope: str) -> str:
        return scope

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        return redirect_uri.endswith("/login/sso/callback") or "/login/sso/callback?tenant=" in redirect_uri

    def check_client_secret(self, client_secret: str) -> bool:
        return secrets.compare_digest(client_secret, self.secret)

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return method in self.methods

    def check_response_type(self, response_type: str) -> bool:
        return response_type == "code"

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type == "authorization_code"


@dataclass
class Code(AuthorizationCodeMixin):  # type: ignore[misc]  # as above
    code: str
    client_id: str
    redirect_uri: str
    scope: str
    nonce: str | None
    person: dict[str, Any]
    code_challenge: str | None
    code_challenge_method: str | None

    def get_redirect_uri(self) -> str:
        return self.redirect_uri

    def get_scope(self) -> str:
        return self.scope

    def get_nonce(self) -> str | None:
        return self.nonce

    def get_auth_time(self) -> None:
        return None

    def get_acr(self) -> None:
        return None

    def get_amr(self) -> None:
        return None


Forge = Callable[[dict[str, Any], dict[str, Any]], str | None]


@dataclass
class Provider:
    """The provider: `person` is signed in next, `denies` refuses, `forge` makes the ID token in its place.

    `published` overrides what discovery says, `names_itself` adds `iss` to its answers (RFC 9207), and
    `asked` is every path that was requested.
    """

    issuer: str = ""
    client: Client = field(default_factory=lambda: Client("mis", "a-secret-of-the-provider"))
    person: dict[str, Any] = field(default_factory=dict)
    denies: bool = False
    names_itself: bool = True
    only_userinfo: bool = False
    forge: Forge | None = None
    published: dict[str, Any] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    codes: dict[str, Code] = field(default_factory=dict)
    tokens: dict[str, dict[str, Any]] = field(default_factory=dict)
    key: RSAKey = field(default_factory=lambda: RSAKey.generate_key(2048, {"kid": "one", "use": "sig"}))

    def rotate(self) -> None:
        """Sign with another key from now on, and publish that one alone."""
        self.key = RSAKey.generate_key(2048, {"kid": secrets.token_hex(4), "use": "sig"})

    def config(self, **changes: Any) -> dict[str, Any]:
        """Return the value of `sso.oidc` that names this provider."""
        return {
            "issuer": self.issuer,
            "clientId": self.client.client_id,
            "clientSecret": self.client.secret,
        } | changes

    def sign(self, claims: dict[str, Any], key: Any = None, **header: Any) -> str:
        """Return an ID token of the claims."""
        signing = key or self.key
        head = {"alg": "RS256", "kid": self.key.kid} | header
        return jwt.encode(head, claims, signing, [head["alg"]])

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/.well-known/openid-configuration", self._discovery),
                Route("/keys", self._keys),
                Route("/authorize", self._authorize),
                Route("/token", self._token, methods=["POST"]),
                Route("/userinfo", self._userinfo),
            ]
        )

    async def _discovery(self, request: Request) -> Response:
        self.asked.append(request.url.path)
        said = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "userinfo_endpoint": f"{self.issuer}/userinfo",
            "jwks_uri": f"{self.issuer}/keys",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "authorization_response_iss_parameter_supported": self.names_itself,
        }
        return JSONResponse(said | self.published)

    async def _keys(self, request: Request) -> Response:
        self.asked.append(request.url.path)
        # Beside its own a provider may publish keys that nobody else can read.
        others: list[Any] = [{"kty": "unheard of", "kid": "x"}, {"kty": "EC", "crv": "none"}, "nonsense"]
        return JSONResponse({"keys": [*others, *KeySet([self.key]).as_dict(private=False)["keys"]]})

    async def _authorize(self, request: Request) -> Response:
        self.asked.append(request.url.path)
        asked, server = Asked(request, {}), self._server()
        person = None if self.denies else self.person
        grant = server.get_authorization_grant(asked)
        answer: Response = server.create_authorization_response(asked, person, grant)
        if self.names_itself and "location" in answer.headers:
            answer.headers["location"] += f"&iss={self.issuer}"
        return answer

    async def _token(self, request: Request) -> Response:
        self.asked.append(request.url.path)
        form = dict(parse_qsl((await request.body()).decode()))
        answer: Response = self._server().create_token_response(Asked(request, form))
        return answer

    async def _userinfo(self, request: Request) -> Response:
        self.asked.append(request.url.path)
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        person = self.tokens.get(token)
        return JSONResponse(person or {}, status_code=200 if person else 401)

    def _server(self) -> "Authority":
        server = Authority(self)
        server.register_token_generator(
            "default", BearerTokenGenerator(lambda **_: secrets.token_urlsafe(16))
        )
        server.register_grant(_grant(self), [CodeChallenge(required=True), _open_id(self)])
        return server


class Authority(AuthorizationServer):  # type: ignore[misc]  # as above
    """Authlib's server, over the requests and responses of Starlette."""

    def __init__(self, provider: Provider) -> None:
        super().__init__()
        self.provider = provider

    def query_client(self, client_id: str) -> Client | None:
        client = self.provider.client
        return client if client_id == client.client_id else None

    def save_token(self, token: dict[str, Any], request: Any) -> None:
        self.provider.tokens[token["access_token"]] = request.user

    def create_oauth2_request(self, request: Any) -> Any:
        return request

    def send_signal(self, name: str, *args: Any, **kwargs: Any) -> None:
        pass

    def handle_response(self, status: int, body: Any, headers: Any) -> Response:
        if isinstance(body, dict):
            return JSONResponse(body, status_code=status, headers=dict(headers))
        return Response(body or "", status_code=status, headers=dict(headers))


def _grant(provider: Provider) -> type[AuthorizationCodeGrant]:
    class Grant(AuthorizationCodeGrant):  # type: ignore[misc]  # as above
        TOKEN_ENDPOINT_AUTH_METHODS = ("client_secret_basic", "client_secret_post")

        def save_authorization_code(self, code: str, request: Any) -> None:
            asked = request.payload.data
            provider.codes[code] = Code(
                code=code,
                client_id=asked["client_id"],
                redirect_uri=asked["redirect_uri"],
                scope=asked["scope"],
                nonce=asked.get("nonce"),
                person=dict(request.user),
                code_challenge=asked.get("code_challenge"),
                code_challenge_method=asked.get("code_challenge_method"),
            )

        def query_authorization_code(self, code: str, client: Client) -> Code | None:
            found = provider.codes.get(code)
            return found if found is not None and found.client_id == client.client_id else None

        def delete_authorization_code(self, code: Code) -> None:
            provider.codes.pop(code.code, None)

        def authenticate_user(self, code: Code) -> dict[str, Any]:
            return code.person

    return Grant


def _open_id(provider: Provider) -> OpenIDCode:
    class OpenId(OpenIDCode):  # type: ignore[misc]  # as above
        def exists_nonce(self, nonce: str, request: Any) -> bool:
            return False

        def resolve_client_private_key(self, client: Client) -> RSAKey:
            return provider.key

        def get_client_claims(self, client: Client) -> dict[str, Any]:
            return {"iss": provider.issuer, "aud": [client.client_id]}

        def get_encode_header(self, client: Client) -> dict[str, Any]:
            return {"alg": "RS256", "kid": provider.key.kid}

        def generate_user_info(self, user: dict[str, Any], scope: str) -> UserInfo:
            return UserInfo({"sub": user["sub"]} if provider.only_userinfo else user)

        def encode_id_token(self, token: dict[str, Any], request: Any) -> str | None:
            text: str = super().encode_id_token(token, request)
            if provider.forge is None:
                return text
            claims = jwt.decode(text, provider.key, algorithms=["RS256"]).claims
            return provider.forge(claims, token)

    return OpenId(require_nonce=True)


def ec_key(kid: str) -> ECKey:
    """Return a key of somebody who is not the provider."""
    return ECKey.generate_key("P-256", {"kid": kid})


@asynccontextmanager
async def providing(**options: Any) -> AsyncIterator[Provider]:
    """Yield a provider that listens on loopback."""
    provider = Provider(**options)
    config = uvicorn.Config(provider.app(), port=0, lifespan="off", log_config=None, server_header=False)
    server = Server(config)
    task = asyncio.create_task(server.serve())
    async with asyncio.timeout(20):
        while not server.started:  # noqa: ASYNC110  # uvicorn sets a flag and sends no event
            await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    provider.issuer = f"http://localhost:{port}"
    try:
        yield provider
    finally:
        server.should_exit = True
        await task


def parameters_of(url: str) -> dict[str, str]:
    """Return the query of a URL."""
    return dict(parse_qsl(urlsplit(url).query))
