"""What is kept of an answered request, so that its answers can be corrected."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fastapi import Request

from adaptune.serve.keys import Caller
from adaptune.serve.registered import Registered
from adaptune.serve.service import Service
from adaptune.serve.store import Prediction
from adaptune.web.problems import request_id_of

Answers = Sequence[Mapping[str, Any]]


def remember(
    request: Request,
    who: Caller,
    service: Service,
    bundle: Registered,
    inputs: Sequence[Any],
    *,
    answers: Iterable[tuple[str | None, Answers]],
) -> None:
    """Keep what was said of every input, by the names of the tasks that said it, where anything is kept."""
    if service.memory is None:
        return
    now, request_id = time.time(), request_id_of(request.scope)
    service.memory.remember(
        [
            Prediction(
                request_id=request_id,
                row=row,
                bundle=bundle.name,
                version=bundle.version,
                task=task,
                time=now,
                key=who.name,
                input=given,
                answer=answer,
            )
            for task, of_task in answers
            for row, (given, answer) in enumerate(zip(inputs, of_task, strict=True))
        ]
    )
