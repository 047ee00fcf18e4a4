"""`python -m sweeps.serve`: labels and probabilities over HTTP."""

from __future__ import annotations

import argparse
import asyncio
import json
import shlex
import signal
import sys
from types import FrameType
from typing import TYPE_CHECKING

from sentiment import cli
from sentiment.errors import InputError
from sweeps.serving.ports import address_of, bind, warn_if_open

if TYPE_CHECKING:
    from socket import socket

    from uvicorn import Server

    from sentiment.tracking.model_uri import SavedModel
    from sweeps.serving.follower import Alias
    from sweeps.serving.served_model import ServedModel
    from sweeps.serving.shadow_serving import ShadowServing

_CONNECTIONS = 256
_STOP_SECONDS = 10
_WARM_UPS = 3
_SWITCH_SECONDS = 0.0005


def main(argv: list[str] | None = None) -> int:
    """Serve a model until Control-C or SIGTERM."""
    parser = cli.Parser(
        prog="python -m sweeps.serve",
        description="Answer POST /invocations with labels and probabilities, in the forms of "
        "MLflow's scoring server; on this machine only unless --host says otherwise. Control-C "
        "ends it.",
        common=(
            "--model",
            "--model-name",
            "--follow",
            "--shadow",
            "--tracking-uri",
            "--port",
            "--host",
        ),
        examples=(
            "python -m sweeps.serve",
            "python -m sweeps.serve --follow --shadow challenger",
            "python -m sweeps.serve --model models:/sentiment@challenger --port 8001",
        ),
    )
    cli.add_model_arguments(parser)
    parser.add_argument(
        "--follow",
        action="store_true",
        help="change to the version that the alias comes to name, without a restart",
    )
    parser.add_argument(
        "--shadow",
        metavar="URI|ALIAS",
        help="another model, such as challenger, that predicts the same texts beside the one that "
        "answers, and is counted in /metrics and in the registry",
    )
    parser.add_argument(
        "--shadow-share",
        type=float,
        metavar="X",
        help="share of the requests that the shadow gets, at most 1 (default: 1)",
    )
    parser.add_argument("--port", type=int, default=8000, help="port to listen on")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    args = parser.parse_args(argv)
    alias = _alias(args.model, args.tracking_uri) if args.follow else None
    share = _share(args)

    with bind(args.host, args.port) as listening:
        warn_if_open(args.host)
        signal.signal(signal.SIGTERM, _end)

        from sentiment.tracking.model_uri import find_model
        from sweeps.serving.served_model import load_served

        saved = find_model(args.model, args.tracking_uri)
        model = load_served(saved)
        shadow = None if args.shadow is None else _shadow(args, saved, model, share)
        make_server(model, args.host, args.port, alias, shadow).run(sockets=[listening])
    return 0


def make_server(
    model: ServedModel,
    host: str,
    port: int,
    follow: Alias | None = None,
    shadow: ShadowServing | None = None,
) -> Server:
    """Return the server of a model; once it is ready it prints a request that works.

    Predictions run in half as many threads as there are cores, one core each.

    Args:
        model: what answers.
        host: address that is printed, with the port.
        port: see `host`.
        follow: the alias whose changes the server goes along with, if any.
        shadow: what predicts beside the model, if anything does.
    """
    import uvicorn

    from sentiment.io.processes import available_cores
    from sweeps.serving.app import make_app
    from sweeps.serving.batching import BatchedClassifier
    from sweeps.serving.follower import Answering, Follower
    from sweeps.serving.metrics import ServingMetrics
    from sweeps.serving.requests import EXAMPLE
    from sweeps.serving.served_model import TRIAL_TEXT, check_answers

    address = address_of(host, port)
    check_answers(model)
    # Half of the cores predict, in larger batches; the others read requests and write answers.
    classifier = BatchedClassifier(model, max(1, available_cores() // 2))
    metrics = ServingMetrics(model.name)
    if shadow is not None:
        shadow.attach(classifier, metrics)

    class Announced(uvicorn.Server):
        async def startup(self, sockets: list[socket] | None = None) -> None:
            # A prediction's Python may hold up the requests of others no longer than this.
            sys.setswitchinterval(_SWITCH_SECONDS)
            for count in range(1, _WARM_UPS + 1):
                await classifier.warm_up([TRIAL_TEXT] * count)
            await super().startup(sockets)
            if self.started:
                request = shlex.quote(json.dumps(EXAMPLE))
                print(f"{address}  (Control-C ends it)")
                print(
                    f"curl {address}/invocations -H 'Content-Type: application/json' -d {request}",
                    flush=True,
                )
                followers = [] if shadow is None else shadow.start()
                if follow is not None:
                    followers.append(Follower(Answering(classifier, metrics), follow))
                self.following = [asyncio.create_task(each.run()) for each in followers]

        async def shutdown(self, sockets: list[socket] | None = None) -> None:
            await super().shutdown(sockets)
            if shadow is not None:
                await asyncio.to_thread(shadow.close)

    return Announced(
        uvicorn.Config(
            make_app(classifier, metrics),
            log_level="warning",
            access_log=False,
            limit_concurrency=_CONNECTIONS,
            timeout_graceful_shutdown=_STOP_SECONDS,
        )
    )


def _alias(reference: str | None, store: str | None) -> Alias:
    from sweeps.serving.follower import Alias  # imports MLflow

    return Alias(reference, store)


def _share(args: argparse.Namespace) -> float:
    """Return the share of the requests that the shadow gets.

    Raises:
        InputError: it is no share, or there is no shadow.
    """
    share: float | None = args.shadow_share
    if share is None:
        return 1.0
    if args.shadow is None:
        raise InputError("--shadow-share: name the shadow too, such as --shadow challenger")
    if not 0 < share <= 1:
        raise InputError(f"--shadow-share {share:g}: give a share above 0, at most 1")
    return share


def _shadow(
    args: argparse.Namespace, saved: SavedModel, model: ServedModel, share: float
) -> ShadowServing:
    from sweeps.serving.shadow_serving import open_shadow

    return open_shadow(args.shadow, args.tracking_uri, saved, model, share, args.follow)


def _end(number: int, frame: FrameType | None) -> None:
    sys.exit(0)


if __name__ == "__main__":
    cli.run(main)
