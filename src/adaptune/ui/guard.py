"""Who may ask: pages that this server itself sent, on this machine. Knows no routes."""

from __future__ import annotations

import hmac

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from adaptune.web.problems import problem

LOCAL = frozenset({"localhost", "127.0.0.1", "[::1]"})
MOST_BYTES = 2**20
"""Of a request's body."""
TOKEN = "x-adaptune-token"


class Guard:
    """Refuses names of other machines (DNS rebinding), and acts without this page's token (forged requests)."""

    def __init__(self, app: ASGIApp, *, token: str, host: str) -> None:
        self.app, self.token = app, token
        self.hosts = LOCAL | {f"[{host}]" if ":" in host else host}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        refusal = self._refusal(scope["method"], Headers(scope=scope))
        if refusal is not None:
            await problem(*refusal, scope)(scope, receive, send)
            return

        async def sealed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.setdefault("X-Content-Type-Options", "nosniff")
                headers.setdefault("Cache-Control", "no-store")
                headers.setdefault("Cross-Origin-Resource-Policy", "same-origin")
            await send(message)

        await self.app(scope, receive, sealed)

    def _refusal(self, method: str, headers: Headers) -> tuple[int, str] | None:
        host = headers.get("host", "")
        name = host if host.endswith("]") else host.rpartition(":")[0] or host
        if name.lower() not in self.hosts:
            return 403, "this page answers on this machine alone; open it as http://127.0.0.1 with its port"
        if headers.get("origin", f"http://{host}") != f"http://{host}":
            return 403, "the request comes from another page"
        if method in ("GET", "HEAD"):
            return None
        if not hmac.compare_digest(headers.get(TOKEN, "").encode(), self.token.encode()):
            return 403, "the page was opened before this server started; load it again"
        length = headers.get("content-length", "")
        if not length.isdecimal() or int(length) > MOST_BYTES:
            return 413, f"a request may have {MOST_BYTES} bytes, and says how many"
        return None
