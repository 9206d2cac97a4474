"""The verbs that put bundles behind a port. No logic; imports nothing heavy before one runs."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from adaptune.cli.options import seconds_in
from adaptune.core.errors import MissingExtra

if TYPE_CHECKING:
    from adaptune.serve.batcher import Queueing


def serve(
    bundles: Annotated[Path, typer.Argument(metavar="FOLDER", help="All bundles below it are served; no others ever.")],
    backbone: Annotated[str | None, typer.Option(help="Where the base is; else as the first bundle names it.")] = None,
    host: Annotated[str, typer.Option(help="Address; others than this machine's own need keys.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 takes a free one.", min=0, max=65535)] = 8000,
    keys: Annotated[Path | None, typer.Option(help="A file of lines that `adaptune key` prints.")] = None,
    registry: Annotated[Path | None, typer.Option(help="A file that keeps what is put and deleted by HTTP.")] = None,
    most_hot: Annotated[int, typer.Option(help="Bundles in memory; others come from disk.", min=1)] = 64,
    allow_copies: Annotated[bool, typer.Option("--allow-copies", help="Serve full and top_layers, too.")] = False,
    words: Annotated[bool, typer.Option("--words", help="Load the base's layer over words in any case.")] = False,
    batch_tokens: Annotated[int, typer.Option(help="Most tokens of one pass.", min=1)] = 4096,
    wait_ms: Annotated[float, typer.Option(help="How long an idle model waits for more rows.", min=0)] = 2.0,
    queue_rows: Annotated[int, typer.Option(help="Rows that may wait; more get 429.", min=1)] = 10_000,
    running: Annotated[int, typer.Option(help="Texts that are written at a time; others wait.", min=1)] = 32,
    cache_tokens: Annotated[int, typer.Option(help="Most tokens that texts in work may come to.", min=1)] = 16_384,
    seconds: Annotated[float, typer.Option(help="Until an answer must be there.", min=0.001)] = 30.0,
    rows: Annotated[int, typer.Option(help="Most inputs of a request.", min=1)] = 256,
    tokens: Annotated[int, typer.Option(help="Most tokens of a request.", min=1)] = 65_536,
    body_bytes: Annotated[int, typer.Option(help="Largest body of a request.", min=1)] = 2**20,
    client_seconds: Annotated[float, typer.Option(help="For a head, a body, or to take an answer.", min=0.1)] = 10.0,
    connections: Annotated[int, typer.Option(help="At a time; more get 503.", min=1)] = 1024,
    requests_a_minute: Annotated[int | None, typer.Option(help="Of one key; else no limit.", min=1)] = None,
    log_texts: Annotated[bool, typer.Option("--log-texts", help="Write what was sent into the access log.")] = False,
    rules: Annotated[Path | None, typer.Option(help="A YAML file of rules that raise alerts.")] = None,
    alerts: Annotated[Path | None, typer.Option(help="A file that every alert is added to.")] = None,
    webhook: Annotated[list[str] | None, typer.Option(help="An address that alerts are posted to.")] = None,
    store: Annotated[str | None, typer.Option(help="A database of answers and feedback: sqlite:///FILE.")] = None,
    keep_texts: Annotated[bool, typer.Option("--keep-texts", help="Keep inputs in the database, too.")] = False,
    remember: Annotated[str, typer.Option(help="How long answers are remembered, for feedback.")] = "7d",
) -> None:
    """Answer over HTTP: any number of bundles on one base.

    \b
    adaptune serve runs --port 8000
    adaptune serve bundles --backbone all-MiniLM-L6-v2 --host 0.0.0.0 --keys keys.txt
    """
    _check_extra()
    from adaptune.serve import config, server

    more = _watching(rules, alerts, webhook) | _remembering(store, keep_texts, remember)
    limits = {"rows": rows, "tokens": tokens, "body_bytes": body_bytes, "seconds": seconds, "connections": connections}
    more |= _limits(client_seconds=client_seconds, a_minute=requests_a_minute, **limits)
    found = config.ServeConfig(root=bundles, keys=keys, registry=registry, log_texts=log_texts, **more)
    holding = server.Holding(most_hot=most_hot, allow_copies=allow_copies, words=words)
    queueing = _queueing(batch_tokens, wait_ms, queue_rows, running=running, cache_tokens=cache_tokens)
    server.serve(found, server.Door(host=host, port=port), holding, queueing, model=backbone)


def key(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whose key it is, for the log.")],
    admin: Annotated[bool, typer.Option("--admin", help="It may load and evict bundles, too.")] = False,
) -> None:
    """Make an API key: the key on the first line, on the second what the server's file of keys holds.

    \b
    adaptune key shop
    """
    _check_extra()
    from adaptune.serve.keys import new_key

    for line in new_key(name, admin=admin):
        typer.echo(line)


def _check_extra() -> None:
    for library in ("fastapi", "uvicorn", "prometheus_client", "httpx", "sqlalchemy"):
        if find_spec(library) is None:
            raise MissingExtra(library, "serve", "serving bundles over HTTP")


def _limits(*, a_minute: int | None, **limits: float) -> dict[str, Any]:
    from adaptune.serve.config import Limits

    return {"limits": Limits.model_validate({"requests_a_minute": a_minute, **limits})}


def _watching(rules: Path | None, alerts: Path | None, webhooks: list[str] | None) -> dict[str, Any]:
    from adaptune.serve.config import Watching

    return {"watching": Watching(rules=rules, alerts=alerts, webhooks=tuple(webhooks or ()))}


def _remembering(store: str | None, keep_texts: bool, remember: str) -> dict[str, Any]:
    from adaptune.serve.config import Remembering

    seconds = seconds_in(remember, "--remember")
    return {"remembering": Remembering(store=store, keep_texts=keep_texts, seconds=seconds)}


def _queueing(batch_tokens: int, wait_ms: float, rows: int, **of_texts: int) -> Queueing:
    from adaptune.serve.batcher import Queueing

    return Queueing(batch_tokens=batch_tokens, wait=wait_ms / 1000, most_rows=rows, **of_texts)
