"""train, evaluate and predict as their users run them, on real short reviews."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from types import SimpleNamespace

import mlflow.pyfunc
import pandas as pd
import pytest
from mlflow import MlflowClient

from sentiment import evaluate, predict, train
from sentiment.config import SECTION_OF, Config
from sentiment.errors import InputError
from sentiment.inference.bundle import Bundle
from sentiment.predict import CHUNK, chunks, read_lines
from sentiment.tracking.model_uri import find_model

SETTINGS = ["hidden_dim=12", "epochs=1", "evaluations_per_epoch=2", "learning_rate=0.01"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """One recorded training with its output."""
    folder = tmp_path_factory.mktemp("trained")
    store = f"sqlite:///{folder}/mlflow.db"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        output = io.StringIO()
        patch.setattr("sys.stdout", output)
        arguments = ["--dataset", "rotten-tomatoes", "--test", "--device", "cpu", "--threads", "1"]
        train.main([*arguments, "--tracking-uri", store, "--set", *SETTINGS])
    client = MlflowClient(store)
    (run,) = client.search_runs([client.get_experiment_by_name("sentiment").experiment_id])
    return SimpleNamespace(
        folder=folder, store=store, output=output.getvalue(), client=client, run=run
    )


def test_a_line_an_evaluation_and_the_counts(trained):
    lines = trained.output.splitlines()
    epochs = [line for line in lines if line.startswith("epoch")]
    assert len(epochs) == 2
    assert "train loss" in epochs[0] and "valid loss" in epochs[0]
    total = int(trained.run.data.metrics["parameters/trainable"])
    assert any(f"{total:,} trainable parameters" in line for line in lines)
    assert any("commonest words: <unk> <pad> . the" in line for line in lines)
    assert any(line.startswith("test: loss") for line in lines)
    share = trained.run.data.metrics["embedding/coverage"]
    assert 0.9 < share < 1
    assert f"embedding: glove, 50d, for {share:.1%} of the vocabulary" in lines
    assert lines[-1] == (
        f"next: python -m sentiment.predict --model {trained.run.info.run_id} "
        f'--tracking-uri {trained.store} "This film is great"'
    )


def test_few_labels_and_many_texts(tmp_path, monkeypatch, capsys):
    rows = [f"a {'good' if i % 2 else 'bad'} film of {i},{i % 2}" for i in range(60)]
    (tmp_path / "own.csv").write_text("\n".join(["text,label", *rows]))
    (tmp_path / "more.csv").write_text("\n".join(["text", *(f"zebra film {i}" for i in range(40))]))
    monkeypatch.chdir(tmp_path)
    store = f"sqlite:///{tmp_path}/mlflow.db"
    data = ["--data", "own.csv", "--unlabelled", "more.csv", "--label-share", "0.2"]
    settings = [*SETTINGS, "embedding=word2vec", "embedding_dim=8", "tokenizer=whitespace"]
    more = ["ngrams=2", "class_weights=balanced"]
    train.main([*data, "--test", "--tracking-uri", store, "--set", *settings, *more])
    output = capsys.readouterr().out
    assert "own.csv: 8 train, 10 valid, 8 test, 74 unsup texts of " in output
    client = MlflowClient(store)
    (run,) = client.search_runs([client.get_experiment_by_name("sentiment").experiment_id])
    (seen,) = run.inputs.dataset_inputs
    sizes = {"num_rows": 100, "train": 8, "valid": 10, "test": 8, "unsup": 74}
    assert json.loads(seen.dataset.profile) == sizes
    assert json.loads(seen.dataset.source)["unlabelled"] == [str(tmp_path / "more.csv")]
    evaluate.main(["--model", run.info.run_id, "--tracking-uri", store, "--json"])
    found = json.loads(capsys.readouterr().out)
    assert (found["own_data"], found["count"]) == (True, 8)
    assert found["test/accuracy"] == pytest.approx(run.data.metrics["test/accuracy"])
    # Words that stand in texts without labels alone are in the model's vocabulary.
    model = Bundle.load(find_model(run.info.run_id, store).folder)
    assert "zebra" in model.vocabulary.stoi


def test_the_run_is_like_a_trials(trained):
    run = trained.run
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "bilstm-1×12 glove adam"
    assert set(SECTION_OF) <= set(run.data.params)
    history = trained.client.get_metric_history(run.info.run_id, "valid/accuracy")
    assert [metric.step for metric in history] == [3_026, 5_970]
    assert run.data.metrics["best/valid/accuracy"] == max(metric.value for metric in history)
    assert run.data.metrics["test/accuracy"] > 0.6


def test_evaluate_finds_what_was_recorded(trained, capsys):
    arguments = ["--model", trained.run.info.run_id, "--tracking-uri", trained.store]
    evaluate.main([*arguments, "--json"])
    scores = json.loads(capsys.readouterr().out)
    assert (scores["dataset"], scores["own_data"]) == ("rotten-tomatoes", True)
    assert scores["dataset_fingerprint"] == trained.run.data.params["dataset_fingerprint"]
    assert scores["test/accuracy"] == trained.run.data.metrics["test/accuracy"]
    assert scores["count"] == sum(map(sum, scores["confusion"])) == 1_280
    evaluate.main([*arguments, "--dataset", "rotten-tomatoes", "--split", "valid"])
    text = capsys.readouterr().out
    assert "rotten-tomatoes valid, 1,280 texts" in text
    assert "label \\ predicted" in text


def test_other_labels_are_refused(trained, tmp_path):
    table = tmp_path / "stars.csv"
    rows = [f"a text number {i} of many,{'abc'[i % 3]}" for i in range(60)]
    table.write_text("\n".join(["text,label", *rows]))
    arguments = ["--model", trained.run.info.run_id, "--tracking-uri", trained.store]
    with pytest.raises(InputError, match="the model tells neg, pos apart"):
        evaluate.main([*arguments, "--data", str(table)])


def test_labels_are_compared_by_value(make_bundle, tmp_path, capsys):
    bundle = Bundle.load(make_bundle(0))
    rows = [(f"film great {i}", i % 2) for i in range(60)]
    scored = {}
    for written, names in (("1.0", ("0.0", "1.0")), ("1", ("0.0", "1.0")), ("1", ("neg", "pos"))):
        folder = replace(bundle, label_names=names).save(tmp_path / f"{written} {names[0]}")
        table = tmp_path / "texts.csv"
        lines = [f"{text},{written.replace('1', str(label))}" for text, label in rows]
        table.write_text("\n".join(["text,label", *lines]))
        evaluate.main(["--model", str(folder), "--data", str(table), "--json"])
        found = json.loads(capsys.readouterr().out)
        scored[written, names] = [found[name] for name in ("count", "all/loss", "confusion")]
    first, *others = scored.values()
    assert first[0] == 60
    assert others == [first] * 2
    turned = replace(bundle, label_names=("pos", "neg")).save(tmp_path / "turned")
    evaluate.main(["--model", str(turned), "--data", str(table), "--json"])
    confusion = json.loads(capsys.readouterr().out)["confusion"]
    assert confusion == first[2][::-1]  # what is said stays, what is true is the other now


def test_rows_that_are_left_out_are_told(make_bundle, tmp_path, capsys):
    table = tmp_path / "texts.csv"
    rows = [f"film {i},{('bad', 'good')[i % 2]}" for i in range(60)]
    table.write_text("\n".join(["text,label", *rows, ",good"]))
    arguments = ["--model", str(make_bundle(0)), "--data", str(table), "--json"]
    with pytest.raises(InputError, match=r"apart.*by --label-map OLD=NEW"):
        evaluate.main([*arguments, "--skip-incomplete"])
    capsys.readouterr()
    evaluate.main([*arguments, "--skip-incomplete", "--label-map", "bad=neg,good=pos"])
    told = capsys.readouterr()
    assert told.err == "note: texts.csv: 61 rows read, 1 skipped: 1 without a text\n"
    assert json.loads(told.out)["count"] == 60


def test_predict_agrees_with_the_logged_model(trained, capsys, monkeypatch, global_store):
    texts = ["a moving and wonderful film", "dull , stupid and far too long", "", "🎬" * 50]
    arguments = ["--model", trained.run.info.run_id, "--tracking-uri", trained.store]
    predict.main([*arguments, "--json", *texts])
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    global_store(trained.store)
    (output,) = trained.run.outputs.model_outputs
    loaded = mlflow.pyfunc.load_model(f"models:/{output.model_id}")
    expected = loaded.predict(pd.DataFrame({"text": texts}))
    assert [answer["label"] for answer in answers] == expected["label"].tolist()
    probabilities = [answer["probability"] for answer in answers]
    assert probabilities == pytest.approx(expected["probability"].tolist(), abs=1e-5)
    for answer in answers:
        assert sum(answer["probabilities"].values()) == pytest.approx(1, abs=1e-5)
        assert max(answer["probabilities"].values()) == answer["probability"]
    lines = "".join(f"{text}\n" for text in texts).encode()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(lines), encoding="utf-8"))
    predict.main(arguments)
    printed = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [label for label, _ in printed] == expected["label"].tolist()
    assert [float(p) for _, p in printed] == pytest.approx(probabilities, abs=1e-4)


def test_the_champion_of_another_name_answers(trained, capsys, global_store):
    global_store(trained.store)
    (output,) = trained.run.outputs.model_outputs
    trained.client.create_registered_model("films")
    trained.client.create_model_version(
        "films", f"models:/{output.model_id}", trained.run.info.run_id
    )
    trained.client.set_registered_model_alias("films", "champion", 1)
    predict.main(["--model-name", "films", "--json", "a dull film"])
    predict.main(["--model", trained.run.info.run_id, "--json", "a dull film"])
    by_name, by_run = capsys.readouterr().out.splitlines()
    assert by_name == by_run
    evaluate.main(["--model-name", "films", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["test/accuracy"] == trained.run.data.metrics["test/accuracy"]
    with pytest.raises(InputError, match="--model: not allowed with argument --model-name"):
        predict.main(["--model-name", "films", "--model", "challenger", "a dull film"])


def test_models_that_see_padding_say_so(trained, make_bundle, tmp_path, capsys):
    bundle = Bundle.load(make_bundle(0))
    padded = Config.from_flat({**bundle.config.flat(), "packing": "padded"})
    folder = replace(bundle, config=padded).save(tmp_path / "padded")
    predict.main(["--model", str(folder), "great film", "bad"])
    told = capsys.readouterr()
    assert "packing=padded" in told.err and len(told.err.splitlines()) == 1
    assert len(told.out.splitlines()) == 2
    table = tmp_path / "texts.csv"
    rows = [f"film {i},{('neg', 'pos')[i % 2]}" for i in range(60)]
    table.write_text("\n".join(["text,label", *rows]))
    evaluate.main(["--model", str(folder), "--data", str(table), "--json"])
    scored = capsys.readouterr()
    assert scored.err == told.err
    assert json.loads(scored.out)["count"] > 0
    predict.main(["--model", str(make_bundle(0)), "great film"])
    assert capsys.readouterr().err == ""


def test_lines_are_read_one_by_one_and_must_be_utf8():
    assert list(read_lines(io.BytesIO(b"a\r\n\nb"))) == ["a", "", "b"]
    lines = read_lines(io.BytesIO(b"fine\n\xff\xfe\n"))
    assert next(lines) == "fine"
    with pytest.raises(InputError, match=r"line 2: byte 1 is not UTF-8"):
        next(lines)


def test_a_byte_order_mark_is_no_part_of_the_text(make_bundle, monkeypatch, capsys):
    assert list(read_lines(io.BytesIO("\ufeffgreat\nbad\n".encode()))) == ["great", "bad"]
    for encoding in ("utf-16-le", "utf-16-be"):
        with pytest.raises(InputError, match="standard input is UTF-16, as its byte"):
            next(read_lines(io.BytesIO("\ufeffgreat\n".encode(encoding))))
    model = ["--model", str(make_bundle(0))]
    answers = []
    for data in ("great film\n", "\ufeffgreat film\n"):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data.encode())))
        predict.main(model)
        answers.append(capsys.readouterr().out)
    predict.main([*model, "\ufeffgreat film"])
    answers.append(capsys.readouterr().out)
    assert len(set(answers)) == 1


class Endless(io.RawIOBase):
    """Standard input that makes its lines as they are read, and counts them."""

    def __init__(self, lines):
        self.left = lines
        self.made = 0
        self._line = b""

    def readable(self):
        return True

    def readinto(self, buffer):
        if not self._line and self.left:
            self.left -= 1
            self.made += 1
            self._line = b"word%d " % self.made * 20 + b"\n"
        count = min(len(buffer), len(self._line))
        buffer[:count], self._line = self._line[:count], self._line[count:]
        return count


def test_standard_input_of_any_length_is_not_held(make_bundle, monkeypatch):
    lines = Endless(40 * CHUNK)
    ahead = []
    answered = 0

    class Output(io.StringIO):
        def write(self, text):
            nonlocal answered
            answered += text.count("\n")
            ahead.append(lines.made - answered)
            return len(text)

    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BufferedReader(lines)))
    monkeypatch.setattr("sys.stdout", Output())
    predict.main(["--model", str(make_bundle(0))])
    assert answered == lines.made == 40 * CHUNK
    # What is read and not yet answered is a chunk, and what the reader's buffer holds.
    assert max(ahead) <= CHUNK + io.DEFAULT_BUFFER_SIZE // 120


def test_long_lines_fill_a_chunk_and_endless_ones_are_refused(monkeypatch):
    texts = ["x" * 400, "y" * 700, "z", "", "w" * 2000, "v"]
    assert list(chunks(texts, size=3, characters=1000)) == [texts[:2], texts[2:5], texts[5:]]
    monkeypatch.setattr(predict, "LONGEST_LINE", 10)
    lines = read_lines(io.BytesIO(b"012345678\n" + b"a" * 1000))
    assert next(lines) == "012345678"
    with pytest.raises(InputError, match="line 2 is longer than 10 bytes"):
        next(lines)


@pytest.mark.parametrize(
    ("command", "arguments", "message"),
    [
        (train, ["--recipe", "lstm1"], "did you mean lstm-1"),
        (train, ["--set", "wings=2"], "unknown hyperparameter"),
        (train, ["--dataset", "imbd"], "did you mean imdb"),
        (train, ["--device", "cuda:7", "--dataset", "rotten-tomatoes"], "GPUs are visible"),
        (train, ["--device", "abacus"], "--device abacus"),
        (train, ["--threads", "0"], "--threads 0"),
        (predict, ["--model", "nowhere/model", "x"], "nowhere/model"),
        (predict, ["x"], "no such store"),
        (evaluate, ["--model", "0" * 32], "no such store"),
    ],
)
def test_wrong_input_is_told_and_leaves_nothing(command, arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(InputError, match=message):
        command.main(arguments)
    assert list(tmp_path.iterdir()) == []


def test_the_recipes_are_listed(capsys):
    train.main(["--list-recipes"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 14
    assert lines[0].startswith("base-rnn ")
    assert "lm-lstm" in {line.split()[0] for line in lines}
