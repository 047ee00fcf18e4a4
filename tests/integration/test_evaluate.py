"""What evaluate scores, what it prints and what it writes; the command itself, on tiny models."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from mlflow.entities import DatasetInput

from sentiment import evaluate
from sentiment.data.datasets import DataConfig, load_dataset
from sentiment.data.identity import portable
from sentiment.errors import InputError
from sentiment.evaluation.report import NAME_WIDTH, ROWS, lines, plain
from sentiment.evaluation.scored_texts import ScoredTexts
from sentiment.inference.bundle import Bundle
from sentiment.inference.metrics import score
from sentiment.tracking.dataset_input import dataset_input
from sentiment.tracking.logged_model import log_bundle
from sentiment.tracking.model_data import own_data
from sentiment.tracking.model_uri import SavedModel, find_model
from sentiment.tracking.runs import create_run


def write_csv(path: Path, rows: list[tuple[str, ...]], header: str = "text,label") -> Path:
    path.write_text("\n".join([header, *map(",".join, rows)]), encoding="utf-8")
    return path


@pytest.fixture
def own(tmp_path, make_bundle):
    """A file, and the folder of a model that was trained on it."""
    rows = [(f"film number {i} is {('bad', 'great')[i % 2]}", "np"[i % 2]) for i in range(60)]
    (tmp_path / "data").mkdir()
    config = DataConfig(
        data=str(write_csv(tmp_path / "data/own.csv", rows, "body,verdict")),
        text_column="body",
        label_column="verdict",
    )
    dataset = load_dataset(config)
    metadata = {
        "data": portable(config),
        "dataset": dataset.name,
        "dataset_fingerprint": dataset.fingerprint,
    }
    bundle = replace(Bundle.load(make_bundle(0)), label_names=("n", "p"), metadata=metadata)
    return dataset, bundle.save(tmp_path / "model")


def run(capsys, *arguments: object) -> dict:
    evaluate.main([*map(str, arguments), "--json"])
    return json.loads(capsys.readouterr().out)


def test_the_models_own_data_is_scored_unless_other_is_named(own, tmp_path, capsys, monkeypatch):
    dataset, model = own
    # A folder does not tell where the file was: it is looked for here.
    monkeypatch.chdir(tmp_path / "data")
    found = run(capsys, "--model", model)
    assert (found["dataset"], found["own_data"], found["split"]) == ("own.csv", True, "test")
    assert found["dataset_fingerprint"] == dataset.fingerprint
    assert found["count"] == len(dataset.splits["test"])
    assert run(capsys, "--model", model, "--split", "all")["count"] == 60
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        InputError, match=r"trained on can't be had: own.csv: can't be read.*--data"
    ):
        evaluate.main(["--model", str(model)])


def test_data_that_has_changed_is_not_the_models_own(own, tmp_path, capsys, monkeypatch):
    _, model = own
    path = tmp_path / "data/own.csv"
    path.write_text(path.read_text() + "\none more,n")
    monkeypatch.chdir(tmp_path / "data")
    with pytest.raises(InputError, match=r"own.csv is other data here .*--dataset or --data"):
        evaluate.main(["--model", str(model)])
    columns = ["--text-column", "body", "--label-column", "verdict"]
    found = run(capsys, "--model", model, "--data", path, *columns)
    assert (found["own_data"], found["split"], found["count"]) == (False, "all", 61)
    assert "own.csv is other data here" in found["note"]


def test_the_store_knows_where_the_file_was(own, store, tmp_path, capsys, monkeypatch):
    dataset, folder = own
    client, experiment_id = store
    run_id = create_run(client, experiment_id, "x", tags={}, parameters={})
    entry: DatasetInput = dataset_input(dataset, dataset.config)
    client.log_inputs(run_id, [entry])
    log_bundle(client, run_id, folder, name="x", metrics={}, step=1)
    monkeypatch.chdir(tmp_path)
    arguments = ["--model", run_id, "--tracking-uri", client.tracking_uri]
    assert run(capsys, *arguments)["dataset_fingerprint"] == dataset.fingerprint
    model = find_model(run_id, client.tracking_uri)
    assert own_data(model, Bundle.load(folder).metadata) == dataset.config
    # Of an older model the columns are not known: the usual ones are tried.
    assert own_data(model, {}) == DataConfig(data=dataset.config.data)


def test_files_without_labels_are_found_again(own, store, tmp_path, capsys, monkeypatch):
    dataset, folder = own
    client, experiment_id = store
    (tmp_path / "elsewhere").mkdir()
    more = write_csv(tmp_path / "elsewhere/more.csv", [("new",), ("newer",)], "body")
    config = dataset.config.model_copy(update={"unlabelled": (str(more),), "label_share": 0.5})
    extended = load_dataset(config)
    metadata = {
        "data": portable(config),
        "dataset": extended.name,
        "dataset_fingerprint": extended.fingerprint,
    }
    assert metadata["data"]["unlabelled"] == ["more.csv"]
    folder = replace(Bundle.load(folder), metadata=metadata).save(tmp_path / "extended")
    run_id = create_run(client, experiment_id, "x", tags={}, parameters={})
    entry = dataset_input(extended, config)
    assert json.loads(entry.dataset.source)["unlabelled"] == [str(more)]
    assert json.loads(entry.dataset.profile)["unsup"] == len(extended.splits["unsup"].texts)
    client.log_inputs(run_id, [entry])
    log_bundle(client, run_id, folder, name="x", metrics={}, step=1)
    monkeypatch.chdir(tmp_path)
    arguments = ["--model", run_id, "--tracking-uri", client.tracking_uri]
    found = run(capsys, *arguments)
    assert (found["own_data"], found["count"]) == (True, len(dataset.splits["test"]))
    assert own_data(find_model(run_id, client.tracking_uri), metadata) == config
    with pytest.raises(InputError, match="--output"):
        evaluate.main([*arguments, "--output", str(more)])
    more.rename(tmp_path / "moved.csv")
    with pytest.raises(
        InputError, match=r"trained on can't be had: .*elsewhere/more.csv: can't be"
    ):
        evaluate.main(arguments)
    moved = run(capsys, *arguments, "--unlabelled", tmp_path / "moved.csv")
    assert (moved["own_data"], moved["dataset_fingerprint"]) == (True, extended.fingerprint)
    named = dataset_input(extended, DataConfig(dataset="rotten-tomatoes", unlabelled="moved.csv"))
    assert json.loads(named.dataset.source)["unlabelled"] == [str(tmp_path / "moved.csv")]


def test_named_data_of_older_models(tmp_path):
    model = SavedModel(tmp_path)
    assert own_data(model, {"dataset": "imdb"}) == DataConfig(dataset="imdb")
    with pytest.raises(InputError, match=r"a file called x\.csv, and where that is isn't recorded"):
        own_data(model, {"dataset": "x.csv"})
    with pytest.raises(InputError, match="data that is not recorded"):
        own_data(model, {})
    with pytest.raises(InputError, match="the model's metadata does not say where the data is"):
        own_data(model, {"data": {"wings": 2}})


def test_what_a_bundle_keeps_of_where_the_data_was():
    config = DataConfig(data="/home/someone/secret/own.csv", text_column="body")
    assert portable(config) == {"data": ["own.csv"], "text_column": ["body"]}
    assert portable(DataConfig()) == {"dataset": "imdb-25k"}
    config = DataConfig(dataset="imdb", data_dir="/home/someone/aclImdb", validation_share=0.2)
    assert portable(config) == {"dataset": "imdb", "data_dir": "aclImdb", "validation_share": 0.2}


def test_a_file_of_ones_own_is_scored_whole(own, tmp_path, capsys):
    _, model = own
    path = write_csv(tmp_path / "new.csv", [(f"a great film {i % 4}", "p") for i in range(9)])
    found = run(capsys, "--model", model, "--data", path)
    assert (found["split"], found["count"], found["own_data"]) == ("all", 9, False)
    assert found["trained_on"] == "own.csv"
    assert found["classes"]["n"]["count"] == 0 and found["classes"]["n"]["recall"] is None
    assert sum(map(sum, found["confusion"])) == 9
    evaluate.main(["--model", str(model), "--data", str(path)])
    text = capsys.readouterr().out
    assert "new.csv all, 9 texts" in text
    assert "data: not the model's own, which is own.csv; fingerprint" in text


def test_a_split_column_that_says_test_alone(own, tmp_path, capsys):
    _, model = own
    rows = [(f"film {i}", "np"[i % 2], "test") for i in range(8)]
    path = write_csv(tmp_path / "held.csv", rows, "text,label,part")
    named = ["--model", model, "--data", path, "--split-column", "part"]
    assert run(capsys, *named)["count"] == 8
    assert run(capsys, *named, "--split", "test")["count"] == 8
    with pytest.raises(InputError, match="never says train"):
        evaluate.main([*map(str, named), "--split", "valid"])


def test_labels_are_the_models(own, make_bundle, tmp_path, capsys):
    _, model = own
    path = write_csv(tmp_path / "labels.csv", [("a", "p"), ("b", "x"), ("c", "y")])
    with pytest.raises(
        InputError, match=r"the model tells n, p apart, .* has the labels x, y: give"
    ):
        evaluate.main(["--model", str(model), "--data", str(path)])
    path = write_csv(tmp_path / "numbers.csv", [("a", "1"), ("b", "1")])
    found = run(capsys, "--model", make_bundle(0), "--data", path)
    assert (found["classes"]["pos"]["count"], found["trained_on"]) == (2, None)


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_predictions_are_written(own, tmp_path, capsys, ending):
    _, model = own
    texts = ['a "great" film', "bad, bad", "line one\nline two", "naïve"]
    source = tmp_path / "new.jsonl"
    source.write_text("\n".join(json.dumps({"text": text, "label": "p"}) for text in texts))
    output = tmp_path / "made" / f"predictions.{ending}"
    evaluate.main(["--model", str(model), "--data", str(source), "--output", str(output)])
    assert f"predictions: {output}" in capsys.readouterr().err
    rows = read_rows(output)
    assert [row["text"] for row in rows] == texts
    best = np.exp(Bundle.load(model).log_probabilities(texts)).max(axis=1)
    assert [float(row["probability"]) for row in rows] == pytest.approx(best.tolist(), abs=1e-6)
    assert {row["label"] for row in rows} == {"p"}
    assert {row["predicted"] for row in rows} <= {"n", "p"}
    assert [each.name for each in output.parent.iterdir()] == [output.name]


def read_rows(path: Path) -> list[dict]:
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pylist()
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text().split("\n")[:-1]]
    import csv

    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_predictions_never_take_the_place_of_the_data(own, tmp_path, monkeypatch):
    _, model = own
    path = write_csv(tmp_path / "new.csv", [("a", "p"), ("b", "n")])
    before = path.read_text()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link.csv").symlink_to(path)
    for output, message in (
        ("new.csv", "is the file that is scored"),
        ("link.csv", "is the file that is scored"),
        ("out.xlsx", "must end in .csv, .jsonl, .parquet"),
        ("new.csv/out.csv", "can't be written"),
    ):
        with pytest.raises(InputError, match=f"--output {output}: .*{message}"):
            evaluate.main(["--model", str(model), "--data", str(path), "--output", output])
    assert path.read_text() == before
    assert {each.name for each in tmp_path.iterdir()} >= {"new.csv", "link.csv", "data", "model"}
    assert not list(tmp_path.glob(".*"))


def scored_classes(classes: int, texts: int):
    """Scores of texts that go through the classes, every third taken for the class after."""
    names = [f"class number {i}, which has a very long name of its own" for i in range(classes)]
    labels = np.arange(texts) % classes
    predicted = np.where(np.arange(texts) % 3 == 0, (labels + 1) % classes, labels)
    scores = score(np.log(np.eye(classes)[predicted] * 0.98 + 0.01 / classes), labels)
    return ScoredTexts("x", None, "f" * 64, True, "test", [""] * texts, labels), scores, names


def test_many_classes_are_shown_in_a_few_lines(capsys):
    scored, scores, names = scored_classes(130, 1300)
    shown = list(lines(scored, scores, names, "x"))
    assert len(shown) < 2 * ROWS + 14
    assert max(map(len, shown)) <= 100
    assert any("more classes: --json has all" in line for line in shown)
    assert any("more kinds of confusion" in line for line in shown)
    whole = plain(scored, scores, names, "x")
    assert list(whole["classes"]) == whole["labels"] == names
    assert np.array(whole["confusion"]).shape == (130, 130)


def test_few_classes_are_shown_as_a_matrix():
    scored, scores, names = scored_classes(3, 30)
    shown = list(lines(scored, scores, names, "x"))
    assert sum("class number" in line for line in shown) == 4
    assert max(map(len, shown)) <= 4 * (NAME_WIDTH + 3)
