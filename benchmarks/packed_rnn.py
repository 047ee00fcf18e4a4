"""`python -m benchmarks.packed_rnn`: one recurrent layer, forward and backward, against torch's.

All sides run in one process, one after the other in every round, on the same lengths, with one
thread and denormals flushed. The floor is the matrix products alone, by torch's own product.
"""

from __future__ import annotations

import itertools
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import torch
from torch.nn.utils.rnn import PackedSequence

from benchmarks import tables
from benchmarks.tutorial_loop import CELLS
from sentiment import cli
from sentiment.data.packed_layout import PackedLayout
from sentiment.errors import InputError
from sentiment.nn import rnn_choice
from sentiment.nn.devices import configure_threads, has_fast_bfloat16
from sentiment.nn.packed_rnn import GATES, PackedRNN
from sentiment.nn.rnn_choice import Compiled, compiled

EMBEDDING = 100
Run = Callable[[], object]


def main(argv: list[str] | None = None) -> None:
    """Measure, and print the tables."""
    parser = cli.Parser(prog="python -m benchmarks.packed_rnn", description=__doc__)
    parser.add_argument("--cells", nargs="+", default=list(CELLS), help="rnn, gru, lstm")
    parser.add_argument("--hidden", nargs="+", type=int, default=[128, 256], help="hidden units")
    parser.add_argument("--rounds", type=int, default=3, help="rounds; figures are medians")
    parser.add_argument("--batch", type=int, default=64, help="sequences")
    parser.add_argument("--tokens", type=int, default=270, help="tokens of a sequence, about")
    parser.add_argument("--shapes", action="store_true", help="many shapes against torch packed")
    parser.add_argument("--compiled", action="store_true", help="compiled against the other way")
    parser.add_argument("--bfloat16", action="store_true", help="the same, products in bfloat16")
    parser.add_argument("--write", metavar="FILE", help="Markdown file whose table is replaced")
    args = parser.parse_args(argv)
    configure_threads(1)
    torch.manual_seed(0)
    if args.shapes:
        name, table = "packed-shapes", shapes(args.cells, args.rounds)
    elif args.bfloat16:
        name = "bfloat16-rnn"
        table = in_bfloat16(args.cells, args.hidden, args.rounds, args.batch, args.tokens)
    elif args.compiled:
        name, table = "compiled-rnn", both_ways(args.cells, args.hidden, args.rounds, args.batch)
    else:
        name = "packed-rnn"
        table = kernels(args.cells, args.hidden, args.rounds, args.batch, args.tokens)
    print(table)
    if args.write:
        tables.replace(Path(args.write), name, table)


def kernels(cells: list[str], hidden: list[int], rounds: int, batch: int, tokens: int) -> str:
    """Measure every side for each cell and size; return the table."""
    layout = _like_lengths(batch, tokens)
    header = [
        "layer", "torch packed, tokens/s", "torch padded", "ours float32", "ours bfloat16",
        "float32 over packed", "bfloat16 over packed", "float32, time over floor",
    ]  # fmt: skip
    rows = []
    for cell in cells:
        for units in hidden:
            sides = {
                "packed": torch_packed(cell, units, layout),
                "padded": torch_padded(cell, units, layout),
                "float32": ours(cell, units, layout, None),
                "floor": floor(cell, units, layout),
            }
            if has_fast_bfloat16(torch.device("cpu")):
                sides["bfloat16"] = ours(cell, units, layout, torch.bfloat16)
            seconds = alternate(sides, rounds)
            speed = {side: layout.rows / taken for side, taken in seconds.items()}
            reduced = "bfloat16" in sides
            rows.append(
                [
                    f"{cell.upper()} {units}",
                    f"{speed['packed']:,.0f}",
                    f"{speed['padded']:,.0f}",
                    f"{speed['float32']:,.0f}",
                    f"{speed['bfloat16']:,.0f}" if reduced else "–",
                    f"{speed['float32'] / speed['packed']:.1f}",
                    f"{speed['bfloat16'] / speed['packed']:.1f}" if reduced else "–",
                    f"{seconds['float32'] / seconds['floor']:.2f}",
                ]
            )
    return tables.markdown(header, rows)


def shapes(cells: list[str], rounds: int) -> str:
    """Measure ours against torch's packed module on many shapes; return the table."""
    steps, batches = (8, 64, 270, 1_000), (1, 16, 64, 256)
    header = ["cell, sequences", *(f"up to {longest:,} tokens" for longest in steps)]
    rows = []
    for cell in cells:
        for batch in batches:
            ratios = []
            for longest in steps:
                lengths = torch.randint(max(1, longest // 2), longest + 1, (batch,))
                lengths[0] = longest
                layout = PackedLayout.of(lengths.sort(descending=True).values)
                small = layout.rows < 20_000
                sides = {
                    "packed": torch_packed(cell, 128, layout),
                    "ours": ours(cell, 128, layout, None),
                }
                seconds = alternate(sides, 5 * rounds if small else 1, warm=small)
                ratios.append(f"{seconds['packed'] / seconds['ours']:.2f}")
            rows.append([f"{cell.upper()} 128, {batch}", *ratios])
            # The table takes many minutes: what is there so far can be seen.
            print(*rows[-1], sep=" | ", file=sys.stderr, flush=True)
    return tables.markdown(header, rows)


def both_ways(cells: list[str], hidden: list[int], rounds: int, batch: int) -> str:
    """Measure a layer compiled and otherwise; return the table."""
    found, reason = compiled(torch.float32)
    if found is None:
        raise InputError(f"recurrent layers are not compiled here: {reason}")
    layout = _review_lengths(batch)
    header = [
        "layer", "directions", "otherwise, tokens/s", "compiled, tokens/s", "times as fast",
    ]  # fmt: skip
    rows = []
    for cell, units, directions in itertools.product(cells, hidden, (1, 2)):
        sides = {
            "otherwise": by(Compiled(None, ""), ours(cell, units, layout, None, directions)),
            "compiled": by(Compiled(found, ""), ours(cell, units, layout, None, directions)),
        }
        seconds = alternate(sides, rounds)
        rows.append(
            [
                f"{cell.upper()} {units}",
                str(directions),
                f"{layout.rows / seconds['otherwise']:,.0f}",
                f"{layout.rows / seconds['compiled']:,.0f}",
                f"{seconds['otherwise'] / seconds['compiled']:.2f}",
            ]
        )
        print(*rows[-1], sep=" | ", file=sys.stderr, flush=True)
    return tables.markdown(header, rows)


def in_bfloat16(cells: list[str], hidden: list[int], rounds: int, batch: int, tokens: int) -> str:
    """Measure a layer's ways in bfloat16 and the compiled one in float32; return the table."""
    for dtype in (torch.float32, torch.bfloat16):
        found, reason = compiled(dtype)
        if found is None:
            raise InputError(f"recurrent layers are not compiled here: {reason}")
    layout = _like_lengths(batch, tokens)
    header = [
        "layer", "directions", "bfloat16 otherwise, tokens/s", "compiled in float32",
        "compiled in bfloat16", "over the better of both",
    ]  # fmt: skip
    rows = []
    for cell, units, directions in itertools.product(cells, hidden, (1, 2)):
        bfloat16 = ours(cell, units, layout, torch.bfloat16, directions)
        sides = {
            "otherwise": by(Compiled(None, ""), bfloat16),
            "float32": ours(cell, units, layout, None, directions),
            "bfloat16": bfloat16,
        }
        seconds = alternate(sides, rounds)
        better = min(seconds["otherwise"], seconds["float32"])
        speeds = [f"{layout.rows / each:,.0f}" for each in seconds.values()]
        rows.append(
            [
                f"{cell.upper()} {units}", str(directions), *speeds,
                f"{better / seconds['bfloat16']:.2f}",
            ]
        )  # fmt: skip
        print(*rows[-1], sep=" | ", file=sys.stderr, flush=True)
    return tables.markdown(header, rows)


def alternate(sides: dict[str, Run], rounds: int, warm: bool = True) -> dict[str, float]:
    """Return each side's median seconds; every round runs all sides."""
    if warm:
        for run in sides.values():
            run()
    taken: dict[str, list[float]] = {side: [] for side in sides}
    for _ in range(rounds):
        for side, run in sides.items():
            started = time.perf_counter()
            run()
            taken[side].append(time.perf_counter() - started)
    return {side: statistics.median(seconds) for side, seconds in taken.items()}


def by(way: Compiled, run: Run) -> Run:
    """Have a layer run compiled, or without that by the loops in Python."""

    def run_by() -> None:
        with mock.patch.object(rnn_choice, "compiled", lambda dtype: way):
            run()

    return run_by


def ours(
    cell: str, hidden: int, layout: PackedLayout, dtype: torch.dtype | None, directions: int = 1
) -> Run:
    """Our layer on packed rows."""
    module = PackedRNN(cell, EMBEDDING, hidden, bidirectional=directions == 2)
    module.compute_dtype = dtype
    inputs = torch.randn(layout.rows, EMBEDDING, requires_grad=True)
    gradient = torch.randn(layout.rows, directions, hidden)

    def run() -> None:
        module.zero_grad(set_to_none=True)
        inputs.grad = None
        module(inputs, layout).backward(gradient)

    return run


def torch_packed(cell: str, hidden: int, layout: PackedLayout) -> Run:
    """torch's module on a PackedSequence."""
    module = CELLS[cell](EMBEDDING, hidden)
    inputs = torch.randn(layout.rows, EMBEDDING, requires_grad=True)
    packed = PackedSequence(inputs, torch.tensor(layout.sizes))
    gradient = torch.randn(layout.rows, hidden)

    def run() -> None:
        module.zero_grad(set_to_none=True)
        inputs.grad = None
        module(packed)[0].data.backward(gradient)

    return run


def torch_padded(cell: str, hidden: int, layout: PackedLayout) -> Run:
    """torch's module on the padded batch, the padding read as if it were text."""
    module = CELLS[cell](EMBEDDING, hidden)
    inputs = torch.randn(layout.steps, layout.sequences, EMBEDDING, requires_grad=True)
    gradient = torch.randn(layout.steps, layout.sequences, hidden)

    def run() -> None:
        module.zero_grad(set_to_none=True)
        inputs.grad = None
        module(inputs)[0].backward(gradient)

    return run


def floor(cell: str, hidden: int, layout: PackedLayout) -> Run:
    """The matrix products that the layer can't do without, into buffers made before."""
    width, batch, rows = GATES[cell] * hidden, layout.sequences, layout.rows
    state, recurrent = torch.randn(batch, hidden), torch.randn(hidden, width)
    gate, delta, back = torch.empty(batch, width), torch.randn(batch, width), recurrent.t()
    back, d_state = back.contiguous(), torch.empty(batch, hidden)
    inputs, states = torch.randn(rows, EMBEDDING), torch.randn(rows, hidden)
    deltas, weight = torch.randn(rows, width), torch.randn(width, EMBEDDING)
    projected, d_inputs = torch.empty(rows, width), torch.empty(rows, EMBEDDING)
    d_weight, d_recurrent = torch.empty(width, EMBEDDING), torch.empty(width, hidden)

    def run() -> None:
        torch.mm(inputs, weight.t(), out=projected)
        for size in layout.sizes:
            torch.mm(state[:size], recurrent, out=gate[:size])
        for size in reversed(layout.sizes):
            torch.mm(delta[:size], back, out=d_state[:size])
        torch.mm(deltas, weight, out=d_inputs)
        torch.mm(deltas.t(), inputs, out=d_weight)
        torch.mm(deltas.t(), states, out=d_recurrent)

    return run


def _like_lengths(batch: int, tokens: int) -> PackedLayout:
    """A batch as training makes them: lengths within 3% of each other."""
    spread = max(1, tokens * 3 // 100)
    lengths = torch.randint(tokens - spread, tokens + spread + 1, (batch,))
    return PackedLayout.of(lengths.sort(descending=True).values)


def _review_lengths(batch: int) -> PackedLayout:
    """A batch of reviews of which none is longer than 256 tokens, and a third is cut there."""
    lengths = torch.randint(60, 357, (batch,)).clamp(max=256)
    return PackedLayout.of(lengths.sort(descending=True).values)


if __name__ == "__main__":
    cli.run(main)
