"""Thousands of requests that schemathesis draws from the server's own schema, right ones and wrong ones.

No answer is a 5xx but 503, none takes long, and every one is as the schema says: its status, its type, its body.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from typing import Any

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis import Case, GenerationMode
from schemathesis.checks import CHECKS, CheckFunction
from schemathesis.checks import load_all_checks as _load
from schemathesis.config import SchemathesisConfig

from faults.model import KINDS, texts
from faults.process import Server

SLOWEST = 30.0
"""Seconds of one request on a busy machine; the server's own limit is as long."""
FEW = 5
"""Requests of an operation that there is one way to ask."""
DRAWN = "drawn"
"""The id of a request that feedback can be given on."""
CHECKED = (
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "response_headers_conformance",
)


def fuzz(server: Server, *, total: int) -> dict[str, Any]:
    """About so many requests, spread over all operations, half of them meant to be wrong."""
    _load()
    schema = schemathesis.openapi.from_url(f"{server.url}/openapi.json", config=SchemathesisConfig.from_dict({}))
    operations = [found.ok() for found in schema.get_all_operations()]
    varied = [one for one in operations if one.body or one.path_parameters or one.query]
    each = max(2, (total - FEW * (len(operations) - len(varied))) // (2 * len(varied)))
    told = _Told()
    with server.client() as client:
        body = {"bundle": "reviews", "inputs": texts(1, 3)}
        client.post("/v1/predict", json=body, headers={"X-Request-ID": DRAWN}).raise_for_status()
    with requests.Session() as session:
        for operation in operations:
            _try_all(operation, GenerationMode.POSITIVE, each if operation in varied else FEW, session, told)
            if operation in varied:
                _try_all(operation, GenerationMode.NEGATIVE, each, session, told)
    with server.client() as client:
        client.get("/ready").raise_for_status()
    server.check_log()
    return {
        "requests": told.statuses.total(),
        "operations": len(operations),
        "statuses": {str(status): number for status, number in sorted(told.statuses.items())},
        "slowest_seconds": round(told.slowest, 2),
    }


class _Told:
    """What came back."""

    def __init__(self) -> None:
        self.statuses: Counter[int] = Counter()
        self.slowest = 0.0


def _try_all(operation: Any, mode: GenerationMode, number: int, session: requests.Session, told: _Told) -> None:
    choose = random.Random(operation.label)
    checks: list[CheckFunction] = CHECKS.get_by_names(CHECKED)

    @seed(0)
    @settings(
        max_examples=number,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def attempt(case: Case) -> None:
        _aim(case, choose)
        began = time.monotonic()
        response = case.call(session=session, timeout=2 * SLOWEST)
        told.slowest = max(told.slowest, time.monotonic() - began)
        told.statuses[response.status_code] += 1
        assert response.status_code < 500 or response.status_code == 503, (response.status_code, response.text)
        assert "Traceback" not in response.text
        case.validate_response(response, checks=checks)

    attempt()
    assert told.slowest < SLOWEST, f"{operation.label} took {told.slowest:.1f} s"


def _aim(case: Case, choose: random.Random) -> None:
    """Two of three requests name a bundle that is there: what is drawn at random never does."""
    if choose.random() < 1 / 3:
        return
    name = choose.choice(KINDS)[0]
    if case.path_parameters and "name" in case.path_parameters and case.method == "GET":
        case.path_parameters["name"] = name
    if isinstance(case.body, dict):
        for key in ("bundle", "model"):
            if key in case.body:
                case.body[key] = name
        if "inputs" in case.body and choose.random() < 0.5:
            case.body["inputs"] = texts(choose.randrange(1000), 2)
        if "request_id" in case.body:
            case.body |= {"request_id": DRAWN, "row": choose.randrange(4)}
        if "folder" in case.body and choose.random() < 0.5:
            case.body["folder"] = name
