"""`python -m sweeps.serve`: labels and probabilities over HTTP."""

from __future__ import annotations

import asyncio
import json
import shlex
import signal
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from sentiment import cli
from sweeps.serving.ports import address_of, bind, warn_if_open

if TYPE_CHECKING:
    from socket import socket

    from mlflow.pyfunc import PyFuncModel
    from uvicorn import Server

_CONNECTIONS = 256
_STOP_SECONDS = 10
_WARM_UPS = 3


def main(argv: list[str] | None = None) -> int:
    """Serve a model until Control-C or SIGTERM."""
    parser = cli.Parser(
        prog="python -m sweeps.serve",
        description="Answer POST /invocations with labels and probabilities, by MLflow's scoring "
        "server behind checks of the requests; on this machine only unless --host says "
        "otherwise. Control-C ends it.",
        common=("--model", "--tracking-uri", "--port", "--host"),
        examples=(
            "python -m sweeps.serve",
            "python -m sweeps.serve --model models:/sentiment@challenger --port 8001",
        ),
    )
    cli.add_model_arguments(parser)
    parser.add_argument("--port", type=int, default=8000, help="port to listen on")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    args = parser.parse_args(argv)

    with bind(args.host, args.port) as listening:
        warn_if_open(args.host)
        signal.signal(signal.SIGTERM, _end)
        model = load(args.model, args.tracking_uri)
        make_server(model, args.host, args.port).run(sockets=[listening])
    return 0


def load(reference: str | None, store: str | None = None) -> PyFuncModel:
    """Load a model as MLflow does, with this checkout's code.

    Args:
        reference: which, as `sentiment.tracking.model_uri.resolve_model` takes it.
        store: address of the tracking store; the default one, if None.

    Raises:
        InputError: there is no such model, or it is damaged.
    """
    import mlflow

    from sentiment.inference.bundle import Bundle
    from sentiment.tracking.logged_model import save_mlflow_model
    from sentiment.tracking.model_uri import resolve_model

    bundle = resolve_model(reference, store)
    # MLflow would report what is wrong with the files less clearly.
    cli.warn_of_padding(Bundle.load(bundle).config)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch, "model")
        save_mlflow_model(bundle, folder)
        return mlflow.pyfunc.load_model(str(folder))


def make_server(model: PyFuncModel, host: str, port: int) -> Server:
    """Return the server of a model; once it is ready it prints a request that works.

    Predictions run in as many threads as there are cores, one core each; more requests wait.
    """
    import uvicorn
    from mlflow.pyfunc import scoring_server

    from sentiment.io.processes import available_cores
    from sentiment.nn.devices import configure_threads
    from sweeps.serving.requests import EXAMPLE, CheckedRequests

    address = address_of(host, port)

    class Announced(uvicorn.Server):
        async def startup(self, sockets: list[socket] | None = None) -> None:
            cores = available_cores()
            threads = ThreadPoolExecutor(cores, initializer=configure_threads)
            loop = asyncio.get_running_loop()
            # MLflow's app predicts in the loop's own threads.
            loop.set_default_executor(threads)
            await asyncio.gather(*(asyncio.to_thread(warm_up, model) for _ in range(cores)))
            await super().startup(sockets)
            if self.started:
                request = shlex.quote(json.dumps(EXAMPLE))
                print(f"{address}  (Control-C ends it)")
                print(
                    f"curl {address}/invocations -H 'Content-Type: application/json' -d {request}",
                    flush=True,
                )

    return Announced(
        uvicorn.Config(
            CheckedRequests(scoring_server.init(model)),
            log_level="warning",
            access_log=False,
            limit_concurrency=_CONNECTIONS,
            timeout_graceful_shutdown=_STOP_SECONDS,
        )
    )


def warm_up(model: PyFuncModel) -> None:
    """Have all that the first request needs loaded and allocated."""
    import pandas as pd

    for count in range(1, _WARM_UPS + 1):
        model.predict(pd.DataFrame({"text": ["This film is great. " * 40] * count}))


def _end(number: int, frame: FrameType | None) -> None:
    sys.exit(0)


if __name__ == "__main__":
    cli.run(main)
