"""A sweep over texts of one's own: a CSV file of support requests with three labels.

    python examples/own_data.py

The file is made here so that the example runs anywhere; use your own in its place.
"""

import csv
import random
from pathlib import Path

import sweeps

TOPICS = {
    "billing": ["invoice", "refund", "charged twice", "payment", "price"],
    "delivery": ["parcel", "late", "courier", "tracking number", "address"],
    "account": ["password", "login", "locked out", "email address", "two-factor code"],
}
OPENINGS = ["Hello, about my {}", "My {} is wrong", "Please help: {} and {}", "Where is the {}?"]


def write_requests(path: Path, count: int = 600) -> None:
    """Write generated requests with a label each."""
    chosen = random.Random(0)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["request", "topic"])
        for number in range(count):
            topic = list(TOPICS)[number % len(TOPICS)]
            opening = chosen.choice(OPENINGS)
            words = chosen.sample(TOPICS[topic], opening.count("{}"))
            writer.writerow([f"{opening.format(*words)} (request {number})", topic])


if __name__ == "__main__":
    write_requests(Path("requests.csv"))
    result = sweeps.run(
        data="requests.csv",
        text_column="request",
        label_column="topic",
        objective="valid/f1",
        trials=4,
        max_epochs=4,
        overrides={"embedding": "random", "layers": 1, "optimizer": "adam"},
    )
    print(f"macro F1 on the test split: {result.best.metrics['test/f1']:.3f}")
    print(result.load().predict(["I was charged twice for one parcel"])[0])
