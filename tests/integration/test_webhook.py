"""The recipe of docs/registry.md: MLflow's server tells a webhook that the champion has moved."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from queue import Queue

import pytest
from cryptography.fernet import Fernet
from services import mlflow_server
from winners import Registry, Reviews

from sentiment.tracking.store import open_store

RECIPE = Path(__file__).parents[2] / "docs" / "registry.md"
SECRET = "a secret of both sides"
Request = tuple[dict[str, str], bytes]


@contextmanager
def receiver() -> Iterator[tuple[str, Queue[Request]]]:
    """Run a server that takes requests; gives its address and what has come."""
    received: Queue[Request] = Queue()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.put((dict(self.headers), self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/champion", received
        server.shutdown()


def recipe() -> str:
    """Return the script of the recipe that registers the webhook."""
    section = RECIPE.read_text(encoding="utf-8").partition("## Tell others that it has moved")[2]
    (script,) = re.findall(r"```python\n(.*?)```", section.partition("\n## ")[0], re.DOTALL)
    return str(script)


@pytest.mark.usefixtures("in_process")
def test_a_promotion_and_a_rollback_are_told(
    tmp_path: Path,
    reviews: Reviews,
    better_and_worse: tuple[Path, Path],
    make_bundle: Callable[[int], Path],
) -> None:
    variables = {
        "MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY": Fernet.generate_key().decode(),
        "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS": "true",
        "MLFLOW_WEBHOOK_ALLOWED_SCHEMES": "http",
    }
    backend = f"sqlite:///{tmp_path}/mlflow.db"
    with receiver() as (url, received), mlflow_server(backend, tmp_path, **variables) as address:
        script = recipe()
        script = script.replace("http://mlflow.example.org:5000", address)
        script = script.replace("https://ci.example.org/champion", url).replace("…", SECRET)
        exec(compile(script, RECIPE.name, "exec"), {})
        registry = Registry(*open_store(address), reviews, *better_and_worse, make_bundle)
        registry.win(registry.worse, "first")
        assert registry.promote() == 0
        registry.win(registry.better, "second", valid=0.8)
        assert registry.promote("--yes") == 0
        assert registry.promote("--rollback", "--yes") == 0
        moves = []
        while len(moves) < 3:
            headers, body = received.get(timeout=60)
            check_signature(headers, body)
            told = json.loads(body)
            assert (told["entity"], told["action"]) == ("model_version_alias", "created")
            assert told["data"]["name"] == "sentiment"
            if told["data"]["alias"] == "champion":
                moves.append(told["data"]["version"])
        # Each is sent by a thread of its own, so their order is not that of the moves.
        assert sorted(moves) == ["1", "1", "2"]


def check_signature(headers: dict[str, str], body: bytes) -> None:
    """Check that a request is of one who knows the secret."""
    signed = b".".join(
        [headers[f"X-MLflow-{name}"].encode() for name in ("Delivery-Id", "Timestamp")] + [body]
    )
    digest = base64.b64encode(hmac.digest(SECRET.encode(), signed, hashlib.sha256)).decode()
    assert headers["X-MLflow-Signature"] == f"v1,{digest}"
