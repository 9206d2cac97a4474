"""What a server may be told: limits, and where it listens. Imports nothing heavy."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from adaptune.core.config import Config


class Limits(Config):
    """What one request, or one caller, may ask for."""

    body_bytes: int = Field(default=2**20, ge=1)
    """Of a request's body."""
    client_seconds: float = Field(default=10.0, gt=0)
    """Until a request's head must have come in, then its body, and in which a client takes part of its answer."""
    rows: int = Field(default=256, ge=1)
    """Inputs of a request."""
    tokens: int = Field(default=65_536, ge=1)
    """Tokens of a request, all inputs together, after they were cut to what the model reads."""
    new_tokens: int = Field(default=1024, ge=1)
    """Tokens that a request may have written."""
    seconds: float = Field(default=30.0, gt=0)
    """Until an answer must be there; a request may ask for less."""
    connections: int = Field(default=1024, ge=1)
    """At a time; more are refused at once."""
    requests_a_minute: int | None = Field(default=None, ge=1)
    """Of one key (without keys: of one address); none: as many as come."""


class Watching(Config):
    """What is looked at while bundles answer, and who is told."""

    rules: Path | None = None
    """A YAML file; none: nothing raises an alert."""
    alerts: Path | None = None
    """A file that every alert is added to, as a line of JSON."""
    webhooks: tuple[str, ...] = ()
    """Addresses that every alert is posted to."""


class Remembering(Config):
    """What is kept of answers, so that they can be corrected."""

    store: str | None = None
    """A database, `sqlite:///feedback.db`; none: nothing is remembered, and no feedback taken."""
    keep_texts: bool = False
    """Whether inputs are kept with the answers, and what answers quote of them."""
    seconds: float = Field(default=7 * 86_400.0, gt=0)
    """How long an answer is remembered; feedback stays."""


class ServeConfig(Config):
    """One server."""

    root: Path
    """The one folder from which bundles are loaded."""
    keys: Path | None = None
    """A file of API keys; none: those of ADAPTUNE_KEYS, or none are asked for."""
    registry: Path | None = None
    """A file that keeps what was put and deleted by HTTP, for the next start; none: it is forgotten."""
    log_texts: bool = False
    """Whether the access log holds what was sent."""
    limits: Limits = Limits()
    watching: Watching = Watching()
    remembering: Remembering = Remembering()
