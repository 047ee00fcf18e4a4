from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from winners import Registry, fewer_reviews

from sentiment.data.datasets import DataConfig, load_dataset
from sentiment.errors import InputError
from sentiment.inference.bundle import Bundle
from sentiment.tracking.model_uri import version_of_alias
from sweeps import promote as command
from sweeps.registry.champion import champion_state
from sweeps.registry.versions import all_versions, find_candidate


@pytest.mark.usefixtures("in_process")
def test_first_promotion_and_a_better_model(
    registry: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    registry.win(registry.worse, "first")
    assert registry.promote() == 0
    assert registry.alias("champion") == 1
    assert registry.alias("previous") is None
    registry.win(registry.better, "second", valid=0.8)
    assert registry.promote("--dry-run") == 0
    assert registry.alias("champion") == 1
    assert registry.promote("--yes", "--significant", "--min-gain", "0.1") == 0
    assert (registry.alias("champion"), registry.alias("previous")) == (2, 1)

    shown = capsys.readouterr().out
    assert f"{registry.accuracy_of(registry.better):.4f}" in shown
    first, second = champion_state(registry.client, "sentiment").moves.values()
    assert (first.before, first.after, second.before, second.after) == (None, 1, 1, 2)
    assert second.run == registry.client.get_model_version("sentiment", "2").run_id
    assert second.figures["test/accuracy"] == registry.accuracy_of(registry.better)
    assert second.figures["champion/test/accuracy"] == registry.accuracy_of(registry.worse)
    tags = registry.client.get_model_version("sentiment", "2").tags
    assert float(tags["promotion.test/accuracy"]) == registry.accuracy_of(registry.better)
    assert registry.promote() == 0
    assert "is the champion already" in capsys.readouterr().out


@pytest.mark.usefixtures("in_process")
def test_worse_model_is_refused(registry: Registry, capsys: pytest.CaptureFixture[str]) -> None:
    registry.win(registry.better, "first")
    registry.promote()
    registry.win(registry.worse, "second", valid=0.8)
    assert registry.promote("--yes") == 1
    assert registry.alias("champion") == 1
    assert "refused: its gain over the champion is -" in capsys.readouterr().err


@pytest.mark.usefixtures("in_process")
def test_model_that_is_not_what_was_recorded_is_refused(
    registry: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    registry.win(registry.better, "first", error=0.01)
    assert registry.promote("--yes") == 1
    assert registry.alias("champion") is None
    assert "was recorded" in capsys.readouterr().err


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "5", "-2"])
def test_requirements_that_no_accuracy_can_meet_are_refused(value: str) -> None:
    given = float(value)
    with pytest.raises(InputError, match=f"--min-gain {given}: give a number from -1 to 1"):
        command.main([f"--min-gain={value}"])
    with pytest.raises(InputError, match=f"--min-accuracy {given}: give a share from 0 to 1"):
        command.main([f"--min-accuracy={value}"])


@pytest.mark.usefixtures("in_process")
def test_a_floor_holds_without_and_with_a_champion(
    registry: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    floor = registry.accuracy_of(registry.better)
    registry.win(registry.worse, "first")
    assert registry.promote("--min-accuracy", str(floor)) == 1
    reached = f"{registry.accuracy_of(registry.worse):.4f}"
    assert f"refused: its accuracy is {reached}, less than {floor:.4f}" in capsys.readouterr().err
    assert registry.promote() == 0
    # One of just the floor passes.
    registry.win(registry.better, "second", valid=0.8)
    assert registry.promote("--min-accuracy", str(floor + 0.001)) == 1
    assert registry.alias("champion") == 1
    assert registry.promote("--min-accuracy", str(floor)) == 0
    assert registry.alias("champion") == 2


def test_wrong_option_of_the_recorded_data_is_told(registry: Registry) -> None:
    registry.win(registry.better, "first")
    with pytest.raises(InputError, match=r"--validation-share 7\.0: input should be less"):
        command.main([*registry.uri, "--validation-share", "7"])


@pytest.mark.usefixtures("in_process")
def test_model_that_was_deleted_is_told(registry: Registry) -> None:
    client = registry.client
    registry.win(registry.worse, "first")
    registry.promote()
    registry.win(registry.better, "second", valid=0.8)
    client.delete_logged_model(find_candidate(client, "sentiment", version=1).model_id)
    with pytest.raises(InputError, match=r"model of the champion \(version 1\) can't be had"):
        registry.promote()
    client.delete_logged_model(find_candidate(client, "sentiment").model_id)
    with pytest.raises(InputError, match="model of version 2 can't be had"):
        registry.promote()


@pytest.mark.usefixtures("in_process")
def test_next_command_finds_the_model(
    registry: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    run_id, _ = registry.train(registry.better)
    flag = " ".join(registry.uri)
    assert registry.promote("--run", run_id) == 0
    assert capsys.readouterr().out.splitlines()[-3:] == [
        "next:",
        f'  python -m sentiment.predict {flag} "a text of your own"',
        f"  python -m sweeps.serve {flag} --follow",
    ]
    assert registry.promote("--run", run_id, "--model-name", "films") == 0
    assert capsys.readouterr().out.splitlines()[-1] == (
        f"  python -m sweeps.serve --model-name films {flag} --follow"
    )


@pytest.mark.usefixtures("in_process")
def test_other_data_is_refused(
    registry: Registry, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    registry.win(registry.better, "first")
    assert command.main([*registry.uri, "--dry-run"]) == 0
    other = tmp_path / "other.csv"
    lines = registry.reviews[0].read_text().splitlines()
    other.write_text("\n".join(lines[:-1]))
    assert command.main([*registry.uri, "--data", str(other)]) == 1
    assert "is other data here" in capsys.readouterr().err


@pytest.mark.usefixtures("in_process")
def test_labels_that_an_earlier_version_took_as_written(registry: Registry, tmp_path: Path) -> None:
    path = tmp_path / "reviews.csv"
    path.write_text(
        re.sub(r",([01])$", r",\1.0", registry.reviews[0].read_text(), flags=re.MULTILINE)
    )
    dataset = load_dataset(DataConfig(data=str(path)))
    assert dataset.fingerprint == registry.reviews[1].fingerprint
    assert dataset.former_fingerprint is not None
    old = replace(Bundle.load(registry.worse), label_names=("0.0", "1.0")).save(tmp_path / "old")
    former = replace(dataset, fingerprint=dataset.former_fingerprint)
    registry.win(old, "first", reviews=(path, former))
    assert command.main(registry.uri) == 0
    registry.win(registry.better, "second", reviews=(path, dataset))
    assert command.main(registry.uri) == 0
    assert registry.alias("champion") == 2


@pytest.mark.usefixtures("in_process")
def test_record_of_earlier_splits_says_so(
    registry: Registry, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "twins.csv"
    header, *rows = registry.reviews[0].read_text().splitlines()
    path.write_text("\n".join([header, *(twin for row in rows for twin in (row, f" {row}"))]))
    earlier = load_dataset(DataConfig(data=str(path)), version=1)
    registry.win(registry.better, "first", reviews=(path, earlier))
    assert command.main(registry.uri) == 1
    told = capsys.readouterr().err
    assert "refused: version 1 was made with version 1 of the splits of twins.csv" in told
    assert "train again" in told


@pytest.mark.usefixtures("in_process")
def test_run_that_is_not_registered_is_promoted_by_its_id(registry: Registry) -> None:
    run_id, _ = registry.train(registry.better)
    with pytest.raises(InputError, match=r"reviews\.csv: give it again by --data"):
        command.main([*registry.uri, "--run", run_id])
    assert registry.promote("--run", run_id, "--dry-run") == 0
    assert all_versions(registry.client, "sentiment") == []
    assert registry.promote("--run", run_id) == 0
    version = version_of_alias(registry.client, "sentiment", "champion")
    assert version is not None
    assert version.run_id == run_id


@pytest.mark.usefixtures("in_process")
def test_champion_of_other_data_is_compared_when_the_data_is_named(
    registry: Registry, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    registry.win(registry.worse, "first", reviews=fewer_reviews(registry.reviews, tmp_path))
    assert command.main(registry.uri) == 0
    registry.win(registry.better, "second", valid=0.8)
    assert command.main(registry.uri) == 1
    told = capsys.readouterr()
    assert "refused: the champion was trained on other data, other.csv" in told.err
    assert "both are scored here on the test split of reviews.csv" in told.err
    assert f"{registry.accuracy_of(registry.worse):.4f}" in told.out
    assert registry.alias("champion") == 1
    assert registry.promote() == 0
    assert "note: the champion was trained on other data" in capsys.readouterr().out
    (*_, move) = champion_state(registry.client, "sentiment").moves.values()
    assert move.figures["champion/test/accuracy"] == registry.accuracy_of(registry.worse)


def test_the_flags_of_a_data_set_are_named_in_full():
    dataset = load_dataset(DataConfig(dataset="rotten-tomatoes", label_share=0.02))
    assert command._data_flag(dataset) == "--dataset rotten-tomatoes --label-share 0.02"
    assert command._data_flag(load_dataset(DataConfig())) == "--dataset imdb-25k"
