"""`python -m sentiment.predict`: the label and probability of texts."""

from __future__ import annotations

import codecs
import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, BinaryIO

from sentiment import cli, load
from sentiment.errors import InputError

if TYPE_CHECKING:
    from sentiment.inference.loaded_model import LoadedModel

CHUNK = 256
"""Texts predicted together: enough to sort by length, few enough to keep memory constant."""
CHUNK_CHARACTERS = 2**20
"""With so many characters a chunk is full, however few its texts."""
LONGEST_LINE = 16 * 2**20
"""Bytes of a line at most: what is longer is hardly a text, and would not fit into memory."""


def main(argv: list[str] | None = None) -> None:
    """Predict the texts of the command line, or those of standard input, a text a line."""
    parser = cli.Parser(
        prog="python -m sentiment.predict",
        description="Print each text's label and that label's probability.",
        common=("--model", "--tracking-uri", "--json"),
        examples=(
            'python -m sentiment.predict "This film is great"',
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
        "--json", action="store_true", help="one JSON object a line, with all probabilities"
    )
    args = parser.parse_args(argv)

    from sentiment.io.processes import available_cores
    from sentiment.nn.devices import configure_threads

    model = load(args.model, args.tracking_uri)
    cli.warn_of_padding(model.bundle.config)
    configure_threads(available_cores())
    interactive = not args.texts and sys.stdin.isatty()
    texts = iter(args.texts) if args.texts else read_lines(sys.stdin.buffer)
    for chunk in chunks(texts, 1 if interactive else CHUNK):
        for line in answers(model, chunk, args.json):
            print(line)
        sys.stdout.flush()


def answers(model: LoadedModel, texts: list[str], as_json: bool) -> Iterator[str]:
    """Yield a line for each text: the label and its probability, or a JSON object."""
    for prediction in model.predict(texts):
        if as_json:
            yield json.dumps(asdict(prediction))
        else:
            yield f"{prediction.label}\t{prediction.probability:.4f}"


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
