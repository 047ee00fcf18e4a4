"""The server of a live report: its page, what changes in it, the report of the ended sweep."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Response
from fastapi.responses import PlainTextResponse
from markupsafe import Markup

from sweeps.reporting.live.hosts import is_own_name
from sweeps.reporting.live.live_report import LiveReport
from sweeps.reporting.page import script_hash, template, template_text

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from starlette.types import ASGIApp, Receive, Scope, Send

_READING = ["GET", "HEAD"]
_HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


class Guard:
    """Refuses requests that are no reading, or that call the server by a name not its own."""

    def __init__(self, app: ASGIApp, host: str) -> None:
        """Stand before an app.

        Args:
            app: what answers the other requests.
            host: what the server listens on.
        """
        self._app = app
        self._host = host

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                headers = [(name.encode(), value.encode()) for name, value in _HEADERS.items()]
                message = {**message, "headers": [*message["headers"], *headers]}
            await send(message)

        hosts = [value for name, value in scope["headers"] if name == b"host"]
        app = self._app
        if len(hosts) != 1 or not is_own_name(hosts[0].decode("latin-1"), self._host):
            app = PlainTextResponse("This server is not of that name.\n", 403)
        elif scope["method"] not in _READING:
            app = PlainTextResponse("This server is read-only.\n", 405, {"Allow": "GET, HEAD"})
        await app(scope, receive, send_guarded)


def make_app(report: LiveReport, host: str) -> FastAPI:
    """Return the app that serves a live report.

    Args:
        report: what it serves.
        host: what it listens on.
    """
    script = template_text("report.js") + template_text("live.js")
    page = template("live.html").render(
        title=f"Sweep {report.name}",
        style=Markup(template_text("report.css")),
        script=Markup(script),
    )
    policy = (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; connect-src 'self'; "
        f"script-src 'sha256-{script_hash(script)}'; base-uri 'none'; form-action 'none'"
    )
    app = FastAPI(title="sentiment-sweeps", openapi_url=None)
    app.add_middleware(Guard, host=host)

    @app.api_route("/", methods=_READING)
    async def shell() -> Response:
        """Return the page; its script fills it."""
        headers = {"Content-Security-Policy": policy}
        return Response(page, media_type="text/html", headers=headers)

    @app.api_route("/state", methods=_READING)
    def state(since: str = "") -> Response:
        """Return how the sweep stands, and what has changed since a version."""
        # Escaped, a lone surrogate in a text can be written.
        return Response(json.dumps(report.state(since)), media_type="application/json")

    @app.api_route("/report.html", methods=_READING)
    def final() -> Response:
        """Return the report of the ended sweep."""
        found = report.final_page()
        if found is None:
            return PlainTextResponse("There is no report of the ended sweep yet.\n", 404)
        # Its own policy lets its script run; kept apart, whatever it holds can't read this server.
        headers = {"Content-Security-Policy": "sandbox allow-scripts"}
        return Response(found, media_type="text/html", headers=headers)

    return app
