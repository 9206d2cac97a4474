"""A folder of bundles on its base becomes a server on a port, until it is told to stop."""

from __future__ import annotations

import ipaddress
import json
import logging
import os
import socket
import sys
import traceback
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import uvicorn
from fastapi import FastAPI

from adaptune.bundle.check import find_base
from adaptune.bundle.manifest import Manifest, read_manifest
from adaptune.core.config import Config
from adaptune.core.errors import AdaptuneError, BundleError, ModelError
from adaptune.core.log import notice
from adaptune.models.config import ModelConfig
from adaptune.models.load import load_backbone
from adaptune.serve.access_log import LOGGER
from adaptune.serve.app import make_app
from adaptune.serve.batcher import Queueing
from adaptune.serve.config import Limits, ServeConfig
from adaptune.serve.connections import Connection, Server
from adaptune.serve.keys import Keys, read_keys
from adaptune.serve.memory import LOGGER as FEEDBACK
from adaptune.serve.opening import check_told
from adaptune.serve.paths import bundles_below
from adaptune.serve.pool import Pool
from adaptune.serve.registry import Registry
from adaptune.serve.watch.deliver import LOGGER as ALERTS

DRAIN = 5.0
"""Seconds beyond the longest answer that connections may still take when the server is told to stop."""


KEEP_ALIVE = 65
"""Seconds that a connection may lie idle between two requests: longer than proxies keep theirs (nginx: 60), or they
would send requests into connections that are being closed."""


class Door(Config):
    """Where a server listens."""

    host: str = "127.0.0.1"
    port: int = 8000
    """0: any that is free."""


class Holding(Config):
    """What stands in memory."""

    most_hot: int = 64
    allow_copies: bool = False
    words: bool = False
    """Whether the base is loaded with its output layer over words, even if no bundle needs it yet."""


def serve(config: ServeConfig, door: Door, holding: Holding, queueing: Queueing, *, model: str | None) -> None:
    """Serve every bundle below the root, until SIGTERM or Ctrl-C; what was begun is finished. Raises AdaptuneError."""
    keys = read_keys(config.keys, os.environ)
    _check_door(door, keys)
    check_told(config.watching, config.remembering)
    pool = fill_pool(config, holding, model=model)
    app = make_app(pool, config, queueing, keys)
    _log_to_stderr(texts=config.log_texts)
    server = make_server(app, config.limits)
    with _listen(door) as listening:
        host, port = listening.getsockname()[:2]
        address = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        notice(f"{len(pool.names())} bundles on {pool.backbone.name!r}: {address}  (keys: {len(keys) or 'none'})")
        server.run(sockets=[listening])


def make_server(app: FastAPI, limits: Limits) -> Server:
    """What holds the connections of an application."""
    config = uvicorn.Config(
        app,
        http=cast(Any, partial(Connection, limits=limits)),
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=int(limits.seconds + DRAIN),
    )

    def stopping() -> None:  # there is a service once the server has started
        app.state.service.stop()

    return Server(config, stopping)


def fill_pool(config: ServeConfig, holding: Holding, *, model: str | None) -> Pool:
    """The base with every bundle below the root, as many as may be in memory read and checked. Raises AdaptuneError."""
    root = config.root
    if not root.is_dir():
        raise BundleError(f"{str(root)!r} is no folder; name the one that bundles are, or will be, below")
    lying = list(bundles_below(root))
    _check_names(lying)
    found = Registry(config.registry, root).bundles(lying)
    manifests = [read_manifest(folder) for _, folder in found]
    words = holding.words or any(manifest.base.words for manifest in manifests)
    backbone = load_backbone(_base(found, manifests, model), words=words)
    pool = Pool(backbone, most_hot=holding.most_hot, allow_copies=holding.allow_copies)
    for place, (name, folder) in enumerate(found):
        if place < holding.most_hot:
            pool.load(folder, name)
        else:
            pool.register(folder, name)
    return pool


def _base(found: Sequence[tuple[str, Path]], manifests: Sequence[Manifest], model: str | None) -> ModelConfig:
    """As the first bundle was trained on it."""
    if manifests:
        return find_base(manifests[0].base, found[0][0], model=model)
    if model is None:
        raise ModelError("there are no bundles yet to say which base model they stand on; name it with --backbone")
    return ModelConfig(name=model)


def _check_names(found: Sequence[tuple[str, Path]]) -> None:
    folders: dict[str, Path] = {}
    for name, folder in found:
        if name in folders:
            raise BundleError(
                f"two bundles are called {name!r}: {str(folders[name])!r} and {str(folder)!r}; rename one"
            )
        folders[name] = folder


def _check_door(door: Door, keys: Keys) -> None:
    """Whoever can reach an open door could load and evict bundles. Raises AdaptuneError."""
    try:
        local = ipaddress.ip_address(door.host).is_loopback
    except ValueError:
        local = door.host == "localhost"
    if not local and not len(keys):
        raise AdaptuneError(
            f"--host {door.host} can be reached from other machines, and no API keys are set; make one with "
            "`adaptune key NAME` and pass its line with --keys FILE or ADAPTUNE_KEYS"
        )


def _listen(door: Door) -> socket.socket:
    family = socket.AF_INET6 if ":" in door.host else socket.AF_INET
    try:
        return socket.create_server((door.host, door.port), family=family, backlog=2048)
    except OSError as error:
        raise AdaptuneError(
            f"cannot listen on {door.host} port {door.port}: {error.strerror or error}; stop what listens there, "
            "or choose another --port"
        ) from None


class _Line(logging.Formatter):
    """One line of JSON a record, a failure's stack trace in it."""

    def __init__(self, *, texts: bool) -> None:
        """`texts`: whether messages of failures are logged, too, which may quote what was sent."""
        super().__init__()
        self._texts = texts

    def formatException(self, ei: Any) -> str:  # noqa: N802
        if self._texts:
            return super().formatException(ei)
        told, error = [], ei[1]
        while error is not None:
            told.append("".join(traceback.format_tb(error.__traceback__)) + type(error).__qualname__)
            error = error.__cause__ or error.__context__
        return "\nafter\n".join(told)

    def format(self, record: logging.LogRecord) -> str:
        if record.name in (LOGGER, ALERTS) and not record.exc_info:
            return record.getMessage()
        told = {"level": record.levelname.lower(), "logger": record.name, "message": record.getMessage()}
        if record.exc_info:
            told["trace"] = self.formatException(record.exc_info)
        return json.dumps(told)


def _log_to_stderr(*, texts: bool) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Line(texts=texts))
    levels = (
        (LOGGER, logging.INFO),
        (ALERTS, logging.INFO),
        (FEEDBACK, logging.INFO),
        ("uvicorn.error", logging.WARNING),
    )
    for name, level in levels:
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level)
