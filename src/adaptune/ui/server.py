"""The page on a port of this machine, until Ctrl-C; what runs then goes on by itself."""

from __future__ import annotations

import ipaddress
import socket
from pathlib import Path

import uvicorn

from adaptune.core.errors import AdaptuneError
from adaptune.core.log import notice
from adaptune.ui.app import make_app
from adaptune.ui.places import Places

DRAIN = 3
"""Seconds that answers may still take when the server is told to stop."""


def show(folder: Path, *, host: str, port: int) -> None:
    """Show the runs below a folder, which need not be there yet. Raises AdaptuneError."""
    _refuse_others(host)
    if folder.exists() and not folder.is_dir():
        raise AdaptuneError(f"{str(folder)!r} is a file; name the folder that runs are, or will be, below")
    app = make_app(Places(folder, Path.cwd()), host=host)
    app.state.jobs.open()  # before the port is taken: a second page of one folder is refused
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family)
    except OSError as error:
        raise AdaptuneError(
            f"cannot listen on {host} port {port}: {error.strerror or error}; stop what listens there, or choose "
            "another --port"
        ) from None
    with listening:
        taken = listening.getsockname()[1]
        shown = f"[{host}]" if ":" in host else host
        notice(f"runs below {str(folder)!r}: http://{shown}:{taken}  (Ctrl-C ends the page, and no run)")
        config = uvicorn.Config(
            app, log_level="warning", access_log=False, server_header=False, timeout_graceful_shutdown=DRAIN
        )
        uvicorn.Server(config).run(sockets=[listening])


def _refuse_others(host: str) -> None:
    """Whoever reaches the page can start processes. Raises AdaptuneError for an address that others reach."""
    try:
        local = ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = host == "localhost"
    if not local:
        raise AdaptuneError(
            f"--host {host} can be reached from other machines, and the page starts processes and asks no key; "
            "leave it out, and from elsewhere use: ssh -L 7860:127.0.0.1:7860 THIS-MACHINE"
        )
