"""The saved model: what is written is what is read, and damage is told."""

import json

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from sentiment.config import Config
from sentiment.data.vocabulary import Vocabulary
from sentiment.errors import InputError
from sentiment.inference.bundle import FILES, Bundle
from sentiment.nn.classifier import Classifier

WORDS = ("<unk>", "<pad>", "this", "film", "is", "great", "terrible", ".", "\ud800")


def bundle_of(labels=("neg", "pos"), **settings):
    torch.manual_seed(5)
    config = Config.from_flat({"hidden_dim": 6, **settings})
    model = Classifier(config.model, len(WORDS), 4, len(labels), torch.randn(len(WORDS), 4))
    return Bundle(config, Vocabulary(WORDS), labels, model.state_dict(), {"dataset": "toy"})


TEXTS = ["This film is great.", "", "terrible", "this film is terrible . " * 40, "🎬 عربي \x00"]


@pytest.mark.parametrize(
    ("labels", "settings"),
    [
        (("neg", "pos"), {}),
        (("neg", "pos"), {"loss": "cross_entropy", "cell": "gru", "layers": 2}),
        (("a", "b", "c"), {"pooling": "last", "cell": "rnn"}),
        (("a", "b", "c", "d"), {"pooling": "mean", "bidirectional": False}),
    ],
)
def test_what_is_saved_is_what_is_loaded(tmp_path, labels, settings):
    bundle = bundle_of(labels, **settings)
    folder = bundle.save(tmp_path / "model")
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)
    loaded = Bundle.load(folder)
    assert loaded.config == bundle.config
    assert loaded.vocabulary == bundle.vocabulary
    assert loaded.label_names == labels
    assert loaded.metadata == {"dataset": "toy"}
    probabilities = loaded.predict(TEXTS)
    assert probabilities.shape == (len(TEXTS), len(labels))
    assert probabilities.dtype == np.float32
    assert np.array_equal(probabilities, bundle.predict(TEXTS))
    assert probabilities.sum(axis=1) == pytest.approx(np.ones(len(TEXTS)), abs=1e-6)


def test_saving_twice_replaces_and_leaves_nothing_behind(tmp_path):
    bundle_of(cell="gru").save(tmp_path / "model")
    bundle_of(cell="lstm").save(tmp_path / "model")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert Bundle.load(tmp_path / "model").config.model.cell == "lstm"


def test_a_text_gets_the_same_answer_alone_and_in_any_batch():
    bundle = bundle_of()

    @settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(st.lists(st.text(max_size=60), min_size=1, max_size=6))
    def check(texts):
        together = bundle.predict(texts)
        alone = np.concatenate([bundle.predict([text]) for text in texts])
        assert together == pytest.approx(alone, abs=1e-5)

    check()


def test_no_texts_no_rows():
    assert bundle_of().predict([]).shape == (0, 2)


def damage(folder, file, change):
    path = folder / file
    if file == "weights.safetensors":
        weights = load_file(path)
        change(weights)
        save_file(weights, path)
    else:
        value = json.loads(path.read_text())
        path.write_text(json.dumps(change(value) or value))


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("config.json", lambda c: {**c, "format": 99}, "format 99"),
        ("config.json", lambda c: c["settings"]["model"].update(wings=2), "wings"),
        ("config.json", lambda c: c["settings"]["model"].update(hidden_dim=7), "does not fit"),
        ("config.json", lambda c: [1], "no object"),
        ("vocabulary.json", lambda v: v[:-1], "don't fit"),
        ("vocabulary.json", lambda v: [v[1], v[0], *v[2:]], "starts with"),
        ("vocabulary.json", lambda v: [*v[:-1], 7], "not a string"),
        ("vocabulary.json", lambda v: [*v[:-1], v[2]], "twice"),
        ("labels.json", lambda v: ["only"], "fewer than two"),
        ("labels.json", lambda v: ["a", "b", "c"], "does not fit"),
        ("weights.safetensors", lambda w: w.pop("head.bias"), "does not fit"),
        ("weights.safetensors", lambda w: w.pop("embedding.weight"), "don't fit"),
    ],
)
def test_parts_that_do_not_fit_are_told(tmp_path, file, change, message):
    folder = bundle_of().save(tmp_path / "model")
    damage(folder, file, change)
    with pytest.raises(InputError, match=message):
        Bundle.load(folder)


@pytest.mark.parametrize("file", FILES)
def test_a_torn_or_missing_file_is_told(tmp_path, file):
    folder = bundle_of().save(tmp_path / "model")
    whole = (folder / file).read_bytes()
    (folder / file).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=file):
        Bundle.load(folder)
    (folder / file).unlink()
    with pytest.raises(InputError, match=file):
        Bundle.load(folder)


def test_many_texts_are_shared_between_processes(monkeypatch):
    bundle = bundle_of()
    monkeypatch.setattr("sentiment.inference.bundle.TEXTS_PER_WORKER", 3)
    texts = [f"{'good ' * (n % 5)}film {n}" for n in range(11)]
    np.testing.assert_allclose(bundle.predict(texts, workers=2), bundle.predict(texts), atol=1e-5)
