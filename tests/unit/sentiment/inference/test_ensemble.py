"""The ensemble: means of logits, a folder that is checked, explanations that add up."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from sentiment.config import Config
from sentiment.data.vocabulary import Vocabulary
from sentiment.errors import InputError
from sentiment.inference.bundle import Bundle
from sentiment.inference.ensemble import Ensemble, combined, load_model, misfit
from sentiment.inference.explain import explain
from sentiment.inference.integrated_gradients import TOLERANCE
from sentiment.ngrams.model import NgramModel
from sentiment.ngrams.table import count_ngrams
from sentiment.nn.classifier import Classifier
from sentiment.nn.devices import configure_threads
from sentiment.tracking.logged_model import save_mlflow_model
from sentiment.tracking.model_uri import resolve_model

WORDS = ("<unk>", "<pad>", "this", "film", "is", "great", "dull", ".")
TEXTS = ["This film is great.", "", "dull", "this film is dull . " * 9, "unheard words"]
TWO, THREE = ("neg", "pos"), ("a", "b", "c")


def bundle_of(seed: int, labels: tuple[str, ...], ngrams: int = 0, **settings: object) -> Bundle:
    """A model with random weights; its branch knows the n-grams of `TEXTS`."""
    torch.manual_seed(seed)
    config = Config.from_flat({"hidden_dim": 6, "ngrams": ngrams, **settings})
    words = WORDS[: len(WORDS) - seed]
    model = Classifier(config.model, len(words), 4, len(labels), torch.randn(len(words), 4))
    with torch.no_grad():
        for parameter in [*model.recurrent.parameters(), *model.head.parameters()]:
            parameter *= 2
    bundle = Bundle(config, Vocabulary(words), labels, dict(model.state_dict()), {"seed": seed})
    if ngrams:
        split = bundle.encode([bundle.tokenize(text) for text in TEXTS])
        table, _ = count_ngrams(split, ngrams, 1, bundle.vocabulary.size)
        random, outputs = np.random.default_rng(seed), model.head.out_features
        weights = random.normal(size=(len(table), outputs)).astype(np.float32)
        branch = NgramModel(table, weights, random.normal(size=outputs).astype(np.float32))
        bundle.weights |= branch.tensors()
    return bundle


def ensemble_of(labels: tuple[str, ...] = TWO) -> Ensemble:
    """Two models of different vocabularies; with two labels one has one logit, the other two."""
    members = (
        bundle_of(0, labels, ngrams=2),
        bundle_of(1, labels, cell="gru", loss="cross_entropy", ngrams=1, max_length=6),
    )
    return Ensemble(members, (0.75, 0.25))


@pytest.mark.parametrize("labels", [TWO, THREE])
def test_log_odds_are_the_weighted_mean(labels: tuple[str, ...]) -> None:
    ensemble = ensemble_of(labels)
    found = ensemble.log_probabilities(TEXTS)
    assert (found.shape, found.dtype) == ((len(TEXTS), len(labels)), np.float32)
    assert np.exp(found).sum(axis=1) == pytest.approx(np.ones(len(TEXTS)), abs=1e-6)
    first, second = (each.log_probabilities(TEXTS) for each in ensemble.members)
    for label in range(1, len(labels)):
        odds = [each[:, label] - each[:, 0] for each in (first, second, found)]
        assert odds[2] == pytest.approx(0.75 * odds[0] + 0.25 * odds[1], abs=1e-5)
    alone = np.concatenate([ensemble.predict([text]) for text in TEXTS])
    assert alone == pytest.approx(np.exp(found), abs=1e-5)
    assert ensemble.predict([]).shape == (0, len(labels))


def test_a_mean_of_known_logits() -> None:
    logits = [np.log([[0.8, 0.2]]), np.log([[0.5, 0.5]])]
    # Odds of 4 and of 1 at equal weights: 2.
    assert np.exp(combined(logits, (0.5, 0.5))) == pytest.approx(np.array([[2 / 3, 1 / 3]]))


@pytest.mark.parametrize("labels", [TWO, THREE])
def test_words_add_up_to_its_log_odds(labels: tuple[str, ...]) -> None:
    configure_threads(1)
    ensemble = ensemble_of(labels)
    for text, found in zip(TEXTS, explain(ensemble, TEXTS), strict=True):
        (row,) = ensemble.predict([text])
        assert list(found.probabilities.values()) == pytest.approx(row, abs=1e-5)
        assert found.logit == pytest.approx(np.log(row.max()) - np.log1p(-row.max()), abs=1e-3)
        assert abs(found.residual) <= TOLERANCE + 1e-4
        total = found.bias + sum(each.weight for each in found.tokens) + found.residual
        assert total == pytest.approx(found.logit, abs=1e-9)
        names = [each.words for each in found.ngrams]
        assert len(set(names)) == len(names)


def test_with_one_label_of_two_words_weigh_the_mean() -> None:
    configure_threads(1)
    ensemble = ensemble_of()
    text = TEXTS[0]
    (whole,), *own = (explain(each, [text]) for each in (ensemble, *ensemble.members))
    signs = [1 if found.label == whole.label else -1 for (found,) in own]
    for place, token in enumerate(whole.tokens):
        expected = sum(
            sign * weight * found.tokens[place].weight
            for sign, weight, (found,) in zip(signs, ensemble.weights, own, strict=True)
        )
        assert token.weight == pytest.approx(expected, abs=2 * TOLERANCE)


def test_what_is_saved_is_what_is_loaded(tmp_path: Path) -> None:
    ensemble = ensemble_of()
    folder = ensemble.save(tmp_path / "model")
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.json"))
    assert files[0] == "ensemble.json"
    assert files[1:4] == [f"members/0/{n}.json" for n in ("config", "labels", "vocabulary")]
    loaded = load_model(resolve_model(str(folder)))
    assert isinstance(loaded, Ensemble)
    assert loaded.weights == (0.75, 0.25)
    assert np.array_equal(loaded.predict(TEXTS), ensemble.predict(TEXTS))
    ensemble.save(folder)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert isinstance(load_model(folder / "members/1"), Bundle)


def test_mlflow_loads_and_explains_it(tmp_path: Path) -> None:
    import mlflow.pyfunc

    ensemble = ensemble_of(THREE)
    save_mlflow_model(ensemble.save(tmp_path / "bundle"), tmp_path / "model")
    loaded = mlflow.pyfunc.load_model(str(tmp_path / "model"))
    table = pd.DataFrame({"text": TEXTS})
    expected = ensemble.predict(TEXTS)
    found = loaded.predict(table)
    assert found["label"].tolist() == [THREE[place] for place in expected.argmax(1)]
    assert found["probability"].to_numpy() == pytest.approx(expected.max(1), abs=1e-5)
    why = json.loads(loaded.predict(table[:1], params={"explain": True})["explanation"][0])
    assert [each["token"] for each in why["tokens"]] == ["this", "film", "is", "great", "."]


def change(file: str, key: str, value: object) -> Callable[[Path], None]:
    def act(folder: Path) -> None:
        read = json.loads((folder / file).read_text())
        (folder / file).write_text(json.dumps({**read, key: value}))

    return act


def replaced(member: Bundle) -> Callable[[Path], None]:
    return lambda folder: member.save(folder / "members/1") and None


def tear(file: str) -> Callable[[Path], None]:
    return lambda folder: (folder / file).write_bytes((folder / file).read_bytes()[:-9]) and None


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (change("ensemble.json", "format", 9), "format 9, this version reads format 1"),
        (change("ensemble.json", "weights", [0.5, 0.4]), "add up to 1"),
        (change("ensemble.json", "weights", [1.5, -0.5]), "no numbers above 0"),
        (change("ensemble.json", "weights", ["0.5", 0.5]), "no numbers"),
        (change("ensemble.json", "weights", [float("nan"), 0.5]), "no numbers"),
        (change("ensemble.json", "weights", {}), "no numbers"),
        (change("ensemble.json", "weights", [1.0]), "does not hold the 1 members"),
        (change("ensemble.json", "weights", [0.5, 0.25, 0.25]), "does not hold the 3 members"),
        (tear("ensemble.json"), "ensemble.json: not JSON"),
        (tear("members/1/weights.safetensors"), "members/1/weights.safetensors"),
        (lambda folder: (folder / "members/0/labels.json").unlink(), "no labels.json"),
        (replaced(bundle_of(1, THREE)), "member 1 has other labels"),
        (replaced(bundle_of(1, TWO, tokenizer="whitespace")), "member 1 tokenizes otherwise"),
        (replaced(bundle_of(1, TWO, packing="padded")), "member 1 reads the padding"),
    ],
)
def test_damage_is_told(tmp_path: Path, damage: Callable[[Path], None], message: str) -> None:
    folder = ensemble_of().save(tmp_path / "model")
    damage(folder)
    with pytest.raises(InputError, match=message):
        load_model(folder)


def test_what_fits(tmp_path: Path) -> None:
    first, second = ensemble_of().members
    assert misfit([first, second]) is None
    assert misfit([first, replace(second, label_names=("pos", "neg"))]) is not None
    with pytest.raises(InputError, match="no saved model is in it"):
        resolve_model(str(tmp_path))
