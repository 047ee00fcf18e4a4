"""`sentiment-sweeps COMMAND …`: all commands under one name."""

from __future__ import annotations

import runpy
import sys

from sentiment import cli
from sentiment.config import unknown_name
from sentiment.errors import InputError

COMMANDS = {
    "launch": ("sweeps", "search settings, and register the best model in MLflow"),
    "report": ("sweeps", "leaderboard, comparison, and a page with figures"),
    "promote": ("sweeps", "quality gate, then the alias champion"),
    "serve": ("sweeps", "labels and probabilities over HTTP"),
    "ui": ("sweeps", "MLflow's pages over the record"),
    "clean": ("sweeps", "what sweeps and cache take on the disk, and its removal"),
    "train": ("sentiment", "train one model"),
    "evaluate": ("sentiment", "metrics of a saved model on a split"),
    "predict": ("sentiment", "label and probability of texts"),
    "export": ("sentiment", "a saved model as ONNX, or in 8 bits"),
    "prepare": ("sentiment", "build a data set's corpus and vectors into the cache"),
}
"""Each command's package, and what it does."""


def main(argv: list[str] | None = None) -> int:
    """Run the command that the first argument names.

    Raises:
        InputError: there is no such command.
    """
    name, *rest = (sys.argv[1:] if argv is None else argv) or ["--help"]
    if name in ("-h", "--help"):
        print(_help())
        return 0
    if name not in COMMANDS:
        raise InputError(unknown_name("command", name, COMMANDS))
    module = f"{COMMANDS[name][0]}.{name}"
    sys.argv = [module, *rest]
    # As its own program: it exits with its own status.
    runpy.run_module(module, run_name="__main__", alter_sys=True)
    return 0


def script() -> None:
    """Run as the console script."""
    cli.run(main)


def _help() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {what}" for name, (_, what) in COMMANDS.items()]
    return "\n".join(
        [
            "usage: sentiment-sweeps COMMAND [option ...]",
            "",
            *lines,
            "",
            "sentiment-sweeps COMMAND --help shows a command's options. Each is also a module:",
            "python -m sweeps.launch, python -m sentiment.train, and so on.",
        ]
    )


if __name__ == "__main__":
    script()
