from __future__ import annotations

import json

import pytest
from winners import Registry

from sentiment.errors import InputError
from sweeps.registry import versions


def test_winner_becomes_the_challenger(registry: Registry) -> None:
    client = registry.client
    assert registry.win(registry.worse, "first").version == 1
    assert registry.win(registry.better, "second", valid=0.8).version == 2
    assert registry.alias("challenger") == 2
    assert registry.alias("champion") is None
    version = client.get_model_version("sentiment", "2")
    assert version.tags["sweep.name"] == "second"
    assert version.tags["dataset_fingerprint"] == registry.reviews[1].fingerprint
    assert version.description == "winner of second"
    candidate = versions.find_candidate(client, "sentiment")
    assert candidate.version == 2
    model = client.get_logged_model(candidate.model_id)
    assert json.loads(model.tags["mlflow.modelVersions"]) == [{"name": "sentiment", "version": "2"}]
    assert versions.find_candidate(client, "sentiment", sweep="first").version == 1
    assert versions.find_candidate(client, "sentiment", version=1).version == 1
    assert versions.find_candidate(client, "sentiment", run_id=candidate.run_id) == candidate


def test_candidates_that_are_not_there(registry: Registry) -> None:
    client = registry.client
    with pytest.raises(InputError, match=r"registered yet: python -m sweeps\.launch"):
        versions.find_candidate(client, "sentiment")
    registry.win(registry.better, "first")
    with pytest.raises(InputError, match="no model 'films' is registered here, but 'sentiment': "):
        versions.find_candidate(client, "films")
    with pytest.raises(InputError, match="no version 7; its versions are 1"):
        versions.find_candidate(client, "sentiment", version=7)
    with pytest.raises(InputError, match="no version of the sweep second"):
        versions.find_candidate(client, "sentiment", sweep="second")
    with pytest.raises(InputError, match="there is no such run"):
        versions.find_candidate(client, "sentiment", run_id="0" * 32)
    with pytest.raises(InputError, match="no quotes"):
        versions.find_candidate(client, "it's")
