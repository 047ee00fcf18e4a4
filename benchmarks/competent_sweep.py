"""`python -m benchmarks.competent_sweep`: a sweep by stock parts, as one writes it to be fast.

Ray Tune with reused actors, its Optuna search and its MLflow callback. The reviews are tokenized
once, while Ray starts, and shared through its object store. The model is torch's own
layers on padded batches of like lengths (`benchmarks.padded_classifier`), one thread a trial,
denormals flushed. `benchmarks.sweep` runs it against ours.

Shapes: E embedding size, H hidden units.
"""

from __future__ import annotations

import csv
import json
import os
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import ray
import torch
from ray import tune
from ray.air.integrations.mlflow import MLflowLoggerCallback
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.padded_classifier import PADDING, UNKNOWN, PaddedClassifier, Reviews
from benchmarks.stock_tune import Clock, optuna_search, outcome, shared_settings
from sentiment import cli

_EXPERIMENT = "competent"
_ENVIRONMENT = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # MLflow's callback has the record
    # glibc keeps what a step frees for the next one, in place of mapping each tensor anew.
    "MALLOC_MMAP_THRESHOLD_": str(2**28),
    "MALLOC_TRIM_THRESHOLD_": str(2**29),
}


def main(argv: list[str] | None = None) -> None:
    """Run the sweep, and write what came of it as JSON."""
    parser = cli.Parser(
        prog="python -m benchmarks.competent_sweep",
        description="Run given configurations by stock means, fast; see benchmarks.sweep.",
    )
    parser.add_argument("plan", type=Path, help="JSON, written by benchmarks.sweep")
    parser.add_argument("result", type=Path, help="JSON to write")
    parser.add_argument(
        "--precision", default="float32", choices=("float32", "bfloat16"), help="by autocast"
    )
    args = parser.parse_args(argv)
    plan = json.loads(args.plan.read_text(encoding="utf-8"))
    result = sweep(plan, args.result.parent.absolute(), args.precision)
    args.result.write_text(json.dumps(result), encoding="utf-8")


def sweep(plan: dict[str, Any], folder: Path, precision: str) -> dict[str, Any]:
    """Train the plan's configurations, and return when they were and how well they did."""
    os.environ.update(_ENVIRONMENT)
    configs = plan["configurations"]
    shared = {**shared_settings(configs), "precision": precision}
    uri = f"sqlite:///{folder}/mlflow.db"
    clock = Clock()
    with ThreadPoolExecutor() as threads:
        data = threads.submit(prepare, plan, shared)
        store = threads.submit(_create_store, uri)
        ray.init(
            address="local", num_cpus=plan["workers"], include_dashboard=False, log_to_driver=False
        )
        store.result()
    try:
        results = tune.Tuner(
            tune.with_resources(
                tune.with_parameters(Worker, data=data.result(), shared=shared), {"cpu": 1}
            ),
            tune_config=tune.TuneConfig(
                search_alg=optuna_search(configs),
                num_samples=len(configs),
                max_concurrent_trials=plan["workers"],
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                name=_EXPERIMENT,
                storage_path=str(folder / "ray"),
                verbose=0,
                checkpoint_config=tune.CheckpointConfig(num_to_keep=1),
                callbacks=[
                    MLflowLoggerCallback(tracking_uri=uri, experiment_name=_EXPERIMENT),
                    clock,
                ],
            ),
        ).fit()
    finally:
        ray.shutdown()
    return outcome(results, clock, configs)


def _create_store(uri: str) -> None:
    from mlflow import MlflowClient

    MlflowClient(uri).create_experiment(_EXPERIMENT)


def prepare(plan: dict[str, Any], shared: dict[str, Any]) -> dict[str, Any]:
    """Tokenize the reviews and look up the word vectors.

    Returns:
        `matrix`, (words, E) float32, and for `train` and `valid` the arrays of `Reviews`.
    """
    import spacy

    tokenizer = spacy.blank("en").tokenizer
    # The tokenizer's rules do not reach over white space, and most words come again.
    pieces: dict[str, list[str]] = {}
    texts: dict[str, list[list[str]]] = {"train": [], "valid": []}
    labels: dict[str, list[int]] = {"train": [], "valid": []}
    csv.field_size_limit(sys.maxsize)
    with Path(plan["reviews"]).open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["split"] not in texts:
                continue
            tokens: list[str] = []
            for word in (row["text"].lower() if shared["lowercase"] else row["text"]).split():
                if (found := pieces.get(word)) is None:
                    found = pieces[word] = [token.text for token in tokenizer(word)]
                tokens += found
            texts[row["split"]].append(tokens[: shared["max_length"] or None])
            labels[row["split"]].append(int(row["label"]))
    counts: Counter[str] = Counter()
    for tokens in texts["train"]:
        counts.update(tokens)
    words = ["<unk>", "<pad>", *(w for w, _ in counts.most_common(shared["vocabulary_size"]))]
    index = {word: number for number, word in enumerate(words)}
    data: dict[str, Any] = {"matrix": _vectors(Path(plan["vectors"]), index, shared)}
    for name, split in texts.items():
        rows = [[index.get(token, UNKNOWN) for token in tokens] or [UNKNOWN] for tokens in split]
        data[name] = {
            "tokens": np.concatenate(rows).astype(np.int32),
            "lengths": np.array([len(row) for row in rows]),
            "labels": np.array(labels[name], dtype=np.float32),
        }
    return data


def _vectors(folder: Path, index: dict[str, int], shared: dict[str, Any]) -> np.ndarray:
    """Return the vectors (words, E) of a vocabulary, drawn at random where a word has none."""
    vectors = np.load(folder / "vectors.npy", mmap_mode="r")
    draw = np.random.default_rng(shared["seed"])
    matrix = draw.standard_normal((len(index), vectors.shape[1]), dtype=np.float32)
    matrix *= shared["init_std"]
    matrix[[UNKNOWN, PADDING]] = 0
    words = (folder / "words.txt").read_text(encoding="utf-8").split("\n")
    found = [(index[word], row) for row, word in enumerate(words) if word in index]
    if found:
        ours, theirs = np.array(found).T
        matrix[ours] = vectors[theirs]
    return matrix


class Learner:
    """One model in training, on one thread."""

    def __init__(self, settings: dict[str, Any], data: dict[str, Any]) -> None:
        """Make the model of some settings."""
        torch.set_num_threads(1)
        torch.set_flush_denormal(True)
        _choose_product(settings["hidden_dim"])
        torch.manual_seed(settings["seed"])
        self._draw = np.random.default_rng(settings["seed"])
        self._settings = settings
        self._train, self._valid = Reviews(**data["train"]), Reviews(**data["valid"])
        self.model = PaddedClassifier(torch.from_numpy(data["matrix"].copy()), settings)
        self._optimizer = _optimizer(self.model, settings)
        # bfloat16 costs small layers without a kernel of their own more than it gains.
        pays = settings["cell"] == "lstm" or settings["hidden_dim"] >= 128
        self._reduced = settings["precision"] == "bfloat16" and pays

    def epoch(self) -> dict[str, float]:
        """Train on all reviews once, and return the metrics."""
        self.model.train()
        total = 0.0
        for chosen in self._train.epoch(self._settings["batch_size"], self._draw):
            ids, lengths, labels = self._train.batch(chosen)
            loss = functional.binary_cross_entropy_with_logits(self._logits(ids, lengths), labels)
            self._optimizer.zero_grad()
            loss.backward()
            self._optimizer.step()
            total += float(loss.detach()) * len(chosen)
        accuracy, valid_loss = self._validate()
        return {
            "train_loss": total / len(self._train.labels),
            "valid_accuracy": accuracy,
            "valid_loss": valid_loss,
            "train_reviews": len(self._train.labels),
        }

    def _logits(self, ids: Tensor, lengths: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, self._reduced):
            return self.model(ids, lengths).float()

    @torch.inference_mode()
    def _validate(self) -> tuple[float, float]:
        """Return accuracy and loss."""
        self.model.eval()
        right = loss = 0.0
        for chosen in self._valid.by_length():
            ids, lengths, labels = self._valid.batch(chosen)
            logits = self._logits(ids, lengths)
            loss += float(
                functional.binary_cross_entropy_with_logits(logits, labels, reduction="sum")
            )
            right += int(((logits > 0) == (labels > 0.5)).sum())
        return right / len(self._valid.labels), loss / len(self._valid.labels)


def _optimizer(model: nn.Module, settings: dict[str, Any]) -> torch.optim.Optimizer:
    rate = settings["learning_rate"]
    if settings["optimizer"] == "sgd":
        return torch.optim.SGD(model.parameters(), rate)
    if settings["optimizer"] == "adam":
        return torch.optim.Adam(model.parameters(), rate, fused=True)
    return torch.optim.RMSprop(model.parameters(), rate, foreach=True)


def _choose_product(hidden: int) -> None:
    """Let torch take MKL or oneDNN for float32 products, whichever is faster for H units here.

    With AMX the switch would also let oneDNN round to bfloat16, so it stays off there.
    """
    torch.set_float32_matmul_precision("highest")
    if torch.cpu._is_amx_tile_supported():
        return
    rows, matrix = torch.ones(64, hidden), torch.ones(hidden, 4 * hidden)
    best = dict.fromkeys(("highest", "medium"), float("inf"))
    for _ in range(20):
        for kernel in best:
            torch.set_float32_matmul_precision(kernel)
            started = time.perf_counter()
            rows @ matrix
            best[kernel] = min(best[kernel], time.perf_counter() - started)
    torch.set_float32_matmul_precision(min(best, key=best.__getitem__))


class Worker(tune.Trainable):
    """Trains one trial after the other in one process; a step is an epoch."""

    def setup(self, config: dict[str, Any], **given: Any) -> None:
        self._data, self._shared = given["data"], given["shared"]
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._learner = Learner({**self._shared, **new_config}, self._data)
        return True

    def step(self) -> dict[str, Any]:
        metrics = self._learner.epoch()
        done = self.iteration + 1 >= round(self._shared["epochs"])
        return {**metrics, "done": done, "should_checkpoint": done}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        save_file(self._learner.model.state_dict(), Path(checkpoint_dir) / "weights.safetensors")


if __name__ == "__main__":
    cli.run(main)
