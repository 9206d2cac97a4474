"""Who asks, and whether they may: the dependencies of all routes."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from adaptune.serve.access_log import note
from adaptune.serve.batcher import Busy
from adaptune.serve.errors import Denied
from adaptune.serve.keys import ANYONE, Caller, Keys
from adaptune.serve.service import Service

bearer = HTTPBearer(auto_error=False, description="An API key, where the server asks for one.")


async def caller(
    request: Request, given: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)] = None
) -> Caller:
    """Raises Denied without a valid key, Busy above the rate."""
    state = request.app.state
    keys: Keys = state.keys
    found = _known(keys, given)
    if len(keys):
        note(request.scope, key=found.name)
    address = request.client.host if request.client else ""
    wait = state.rate.take(found.name if len(keys) else address) if state.rate is not None else 0
    if wait:
        raise Busy(f"more requests came than one caller may send in a minute; ask again in {wait} s", wait)
    return found


def _known(keys: Keys, given: HTTPAuthorizationCredentials | None) -> Caller:
    if not len(keys):
        return ANYONE
    found = keys.caller(given.credentials) if given else None
    if found is None:
        raise Denied("no valid API key came with the request; send one as `Authorization: Bearer KEY`", 401)
    return found


async def admin(who: Annotated[Caller, Depends(caller)]) -> Caller:
    """Raises Denied for a key that may not load or evict bundles."""
    if not who.admin:
        raise Denied("this key may ask bundles, and not load or evict them; use one that was made with --admin", 403)
    return who


def service(request: Request) -> Service:
    """The one behind this app."""
    found: Service = request.app.state.service
    return found


Asking = Annotated[Caller, Depends(caller)]
Admin = Annotated[Caller, Depends(admin)]
TheService = Annotated[Service, Depends(service)]
