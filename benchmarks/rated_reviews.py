"""`python -m benchmarks.rated_reviews`: IMDb's reviews by rating, a file of five uneven classes.

The official train half names each review's rating (1 to 4, 7 to 10) in its file name. Five of them
become classes, and the one in the middle is thinned out until it is the given share of all.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from sentiment import cli
from sentiment.errors import InputError
from sentiment.io.archive import read_members

RATINGS = (1, 3, 7, 9, 10)
RAREST = 7

_REVIEW = re.compile(r"(?:^|/)train/(?:neg|pos)/(\d+)_(\d+)\.txt$")
_LIMIT = 2**30  # bytes of the unpacked reviews


def main(argv: list[str] | None = None) -> None:
    """Write the file, and print the texts of each class."""
    parser = cli.Parser(prog="python -m benchmarks.rated_reviews", description=__doc__)
    parser.add_argument("tarball", help="aclImdb_v1.tar.gz, or one of its train half")
    parser.add_argument("output", help="JSON Lines file to write: text and label")
    parser.add_argument("--texts", type=int, default=6000, help="texts of all classes")
    parser.add_argument("--rarest", type=float, default=0.02, help="share of the rarest class")
    args = parser.parse_args(argv)
    reviews = _by_rating(Path(args.tarball))
    rare = round(args.texts * args.rarest)
    common = (args.texts - rare) // (len(RATINGS) - 1)
    rows = []
    for rating in RATINGS:
        wanted = rare if rating == RAREST else common
        if len(reviews.get(rating, ())) < wanted:
            raise InputError(f"{args.tarball}: fewer than {wanted:,} reviews rated {rating}")
        rows += [(text, f"rated {rating}") for text in reviews[rating][:wanted]]
        print(f"rated {rating}: {wanted:,} texts")
    lines = [json.dumps({"text": text, "label": label}) for text, label in rows]
    output = Path(args.output)
    partial = output.with_name(f".{output.name}.partial")
    partial.write_text("\n".join(lines) + "\n", encoding="utf-8")
    partial.replace(output)


def _by_rating(tarball: Path) -> dict[int, list[str]]:
    found: dict[int, dict[int, str]] = {}
    for name, data in read_members(tarball, _REVIEW, _LIMIT).items():
        match = _REVIEW.search(name)
        assert match is not None
        found.setdefault(int(match[2]), {})[int(match[1])] = data.decode()
    return {rating: [texts[number] for number in sorted(texts)] for rating, texts in found.items()}


if __name__ == "__main__":
    cli.run(main)
