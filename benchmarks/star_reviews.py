"""`python -m benchmarks.star_reviews`: reviews of IMDb in five classes, of which one is rare.

The official train half has its stars in the files' names: one; two or three; four; seven or eight;
nine or ten. Those of four stars are thinned out. The file has its splits in a column: as many texts
as somebody has who labels them by hand to train on, and a test split large enough for the rare
class.
"""

from __future__ import annotations

import random
import re
import tarfile
from pathlib import Path

import pandas as pd

from sentiment import cli

TEXTS = 14_000
RARE_SHARE = 0.02
TRAIN, VALID = 4_200, 900

_REVIEW = re.compile(r"(?:^|/)train/(?:pos|neg)/\d+_(?P<stars>\d+)\.txt$")
_LABELS = {1: "1", 2: "2-3", 3: "2-3", 4: "4", 7: "7-8", 8: "7-8", 9: "9-10", 10: "9-10"}
_RARE = "4"


def main(argv: list[str] | None = None) -> None:
    """Write the file."""
    parser = cli.Parser(
        prog="python -m benchmarks.star_reviews", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("archive", type=Path, help="aclImdb-train.tar.gz")
    parser.add_argument("output", type=Path, help="CSV file with the columns text, label, split")
    parser.add_argument("--seed", type=int, default=0, help="of the choice and of the splits")
    args = parser.parse_args(argv)
    rows = choose(read(args.archive), args.seed)
    splits = ["train"] * TRAIN + ["valid"] * VALID
    splits += ["test"] * (len(rows) - len(splits))
    frame = pd.DataFrame(rows, columns=["text", "label"]).assign(split=splits)
    frame.to_csv(args.output, index=False)
    print(frame.groupby(["split", "label"]).size().unstack())


def read(archive: Path) -> list[tuple[str, str]]:
    """Return the labelled reviews with their classes, by the files' names."""
    found = {}
    with tarfile.open(archive) as tar:
        for member in tar:
            match = _REVIEW.search(member.name)
            file = tar.extractfile(member) if match else None
            if match and file:
                found[member.name] = file.read().decode(), _LABELS[int(match["stars"])]
    return [found[name] for name in sorted(found)]


def choose(reviews: list[tuple[str, str]], seed: int) -> list[tuple[str, str]]:
    """Return `TEXTS` of the reviews in random order, `RARE_SHARE` of them of the rare class."""
    generator = random.Random(seed)
    generator.shuffle(reviews)
    rare = round(RARE_SHARE * TEXTS)
    chosen = [each for each in reviews if each[1] == _RARE][:rare]
    chosen += [each for each in reviews if each[1] != _RARE][: TEXTS - rare]
    generator.shuffle(chosen)
    return chosen


if __name__ == "__main__":
    cli.run(main)
