"""`python -m sentiment.predict`: the label and probability of texts."""

from __future__ import annotations

import codecs
import gc
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, BinaryIO

from sentiment import cli, load
from sentiment.errors import InputError
from sentiment.listing import short

if TYPE_CHECKING:
    from sentiment.inference.loaded_model import LoadedModel

CHUNK = 256
"""Texts predicted together: enough to sort by length, few enough to keep memory constant."""
EXPLAINED_CHUNK = 16
"""Texts explained together, since each costs as much as many predictions."""
CHUNK_CHARACTERS = 2**20
"""With so many characters a chunk is full, however few its texts."""
LONGEST_LINE = 16 * 2**20
"""Bytes of a line at most: what is longer is hardly a text, and would not fit into memory."""


def main(argv: list[str] | None = None) -> None:
    """Predict the texts of the command line, or those of standard input, a text a line."""
    parser = cli.Parser(
        prog="python -m sentiment.predict",
        description="Print each text's label and that label's probability.",
        common=("--model", "--model-name", "--tracking-uri", "--explain", "--json"),
        examples=(
            'python -m sentiment.predict "This film is great"',
            'python -m sentiment.predict --explain "This film is great, but far too long"',
            "python -m sentiment.predict --model models:/sentiment/1 --json < reviews.txt",
        ),
    )
    parser.add_argument(
        "texts",
        nargs="*",
        metavar="TEXT",
        help="text to classify (default: each line of standard input)",
    )
    cli.add_model_arguments(parser)
    parser.add_argument(
        "--explain",
        action="store_true",
        help="say which words speak for the label and which against it, and how much",
    )
    parser.add_argument(
        "--json", action="store_true", help="one JSON object a line, with all probabilities"
    )
    args = parser.parse_args(argv)

    # Imports make hundreds of thousands of objects that stay: each look for cycles is in vain.
    gc.disable()
    try:
        from sentiment.io.processes import available_cores
        from sentiment.nn.devices import configure_threads

        model = load(args.model, args.tracking_uri)
    finally:
        gc.enable()
    if not args.explain:  # which judges each text alone
        cli.warn_of_padding(model.bundle.config)
    configure_threads(available_cores())
    interactive = not args.texts and sys.stdin.isatty()
    texts = iter(args.texts) if args.texts else read_lines(sys.stdin.buffer)
    size = EXPLAINED_CHUNK if args.explain else CHUNK
    for chunk in chunks(texts, 1 if interactive else size):
        if args.explain:
            print_explanations(model, chunk, args.json)
        else:
            for line in answers(model, chunk, args.json):
                print(line)
        sys.stdout.flush()


def answers(model: LoadedModel, texts: list[str], as_json: bool) -> Iterator[str]:
    """Yield a line for each text: the label and its probability, or a JSON object."""
    for prediction in model.predict(texts):
        if as_json:
            yield prediction.to_json()
        else:
            yield f"{prediction.label}\t{prediction.probability:.4f}"


def print_explanations(model: LoadedModel, texts: list[str], as_json: bool) -> None:
    """Print for each text its label, that label's probability and its heaviest words.

    On a terminal with colours the text follows, its words coloured by their weights.
    """
    from sentiment.inference.explain import explain
    from sentiment.inference.explanation_text import coloured, summary, terminal
    from sentiment.inference.integrated_gradients import TOLERANCE

    console = None if as_json else terminal()
    for text, explanation in zip(texts, explain(model.bundle, texts), strict=True):
        if abs(explanation.residual) > 2 * TOLERANCE:
            print(
                f"note: the weights miss the logit by {abs(explanation.residual):.2f}, so don't "
                f"rely on them: {short(text)}",
                file=sys.stderr,
            )
        print(explanation.to_json() if as_json else summary(explanation))
        if console is not None:
            console.print(coloured(text, explanation.tokens), soft_wrap=True)


def chunks(
    texts: Iterable[str], size: int = CHUNK, characters: int = CHUNK_CHARACTERS
) -> Iterator[list[str]]:
    """Yield the texts in lists of `size`, or fewer once they have so many characters together."""
    chunk: list[str] = []
    length = 0
    for text in texts:
        chunk.append(text)
        length += len(text)
        if len(chunk) >= size or length >= characters:
            yield chunk
            chunk, length = [], 0
    if chunk:
        yield chunk


def read_lines(stream: BinaryIO) -> Iterator[str]:
    """Yield the lines of a stream as they come, the first without a byte order mark.

    Raises:
        InputError: a line is not UTF-8, or longer than `LONGEST_LINE`.
    """
    number = 0
    while line := stream.readline(LONGEST_LINE + 1):
        number += 1
        if number == 1:
            if line.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
                raise InputError(
                    "standard input is UTF-16, as its byte order mark says: convert it to UTF-8 "
                    "first, such as by `iconv -f UTF-16 -t UTF-8`"
                )
            line = line.removeprefix(codecs.BOM_UTF8)
        if len(line) > LONGEST_LINE:
            raise InputError(
                f"standard input, line {number} is longer than {LONGEST_LINE:,} bytes: "
                "give a text a line"
            )
        try:
            yield line.decode("utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise InputError(
                f"standard input, line {number}: byte {error.start + 1} is not UTF-8; "
                "convert the text to UTF-8 first"
            ) from None


if __name__ == "__main__":
    cli.run(main)
