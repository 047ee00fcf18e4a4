"""`python -m benchmarks`: the quick measurements, one after the other."""

from __future__ import annotations

from benchmarks import orchestration, serving
from sentiment import cli


def main(argv: list[str] | None = None) -> int:
    """Run them; `benchmarks.recipes` takes an hour and is started by itself."""
    orchestration.main([])
    return serving.main([])


if __name__ == "__main__":
    cli.run(main)
