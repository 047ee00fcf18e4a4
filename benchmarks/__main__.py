"""`python -m benchmarks`: the quick measurements, one after the other."""

from __future__ import annotations

from benchmarks import epoch, memory, orchestration, packed_rnn, prediction, serving
from sentiment import cli


def main(argv: list[str] | None = None) -> int:
    """Run them, and put their tables into docs/benchmarks.md; `recipes` takes hours by itself."""
    into = ["--write", "docs/benchmarks.md"]
    packed_rnn.main(into)
    epoch.main(into)
    prediction.main(into)
    memory.main(into)
    orchestration.main([])
    return serving.main([])


if __name__ == "__main__":
    cli.run(main)
