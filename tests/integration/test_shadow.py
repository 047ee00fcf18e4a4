"""A shadow beside the champion: over HTTP, in the metrics, and in what a promotion shows."""

from __future__ import annotations

import http.client
import json
import time
from pathlib import Path

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families
from winners import Registry

from benchmarks.serving import serving
from sentiment.errors import InputError
from sentiment.inference.bundle import Bundle
from sweeps import serve

REQUESTS = (1, 7, 40)
"""Texts of each request."""


def ask(port: int, method: str, path: str, body: object = None) -> tuple[bytes, str | None]:
    """Send a request that must succeed; return the answer and the model that gave it."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        sent = None if body is None else json.dumps(body)
        connection.request(method, path, sent, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        assert answer.status == 200
        return answer.read(), answer.getheader("X-Model")
    finally:
        connection.close()


def counts(port: int, shadow: str) -> dict[str, float]:
    """Return what /metrics says of a shadow of version 1, by the metrics' names."""
    page = ask(port, "GET", "/metrics")[0].decode()
    return {
        sample.name.removeprefix("sentiment_shadow_"): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.labels.get("shadow") == shadow
        and sample.labels["champion"] == "sentiment/1"
        and "le" not in sample.labels
        and sample.labels.get("role") != "champion"
    }


@pytest.mark.usefixtures("in_process")
def test_a_challenger_is_compared_on_real_requests(
    registry: Registry, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    registry.win(registry.worse, "one")
    registry.win(registry.better, "two", valid=0.8)
    registry.client.set_registered_model_alias("sentiment", "champion", "1")
    texts = registry.reviews[1].splits["test"].texts[: sum(REQUESTS)]
    champion, shadow = (
        Bundle.load(each).predict(texts) for each in (registry.worse, registry.better)
    )
    winners = champion.argmax(1)
    agreed = int((winners == shadow.argmax(1)).sum())
    apart = np.abs(champion - shadow)[np.arange(len(texts)), winners].sum()
    assert 0 < agreed < len(texts)

    with serving(tmp_path, "--follow", "--shadow", "challenger") as (_, port):
        assert counts(port, "sentiment/2")["texts_total"] == 0
        labels, start = [], 0
        for size in REQUESTS:
            body = {"inputs": texts[start : start + size]}
            answer, model = ask(port, "POST", "/invocations", body)
            assert model == "sentiment/1"
            labels += [each["label"] for each in json.loads(answer)["predictions"]]
            start += size
        assert labels == [("neg", "pos")[index] for index in winners]
        deadline = time.monotonic() + 120
        while (found := counts(port, "sentiment/2"))["texts_total"] < len(texts):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert found["requests_total"] == found["predict_seconds_count"] == len(REQUESTS)
        assert (found["texts_total"], found["agreed_total"]) == (len(texts), agreed)
        assert found["difference_total"] == pytest.approx(apart, abs=1e-4)
        assert found["errors_total"] == found["dropped_total"] == 0

        # The alias moves to a twin of the champion, whose counts are its own.
        registry.win(registry.worse, "three", as_challenger=True)
        while not (found := counts(port, "sentiment/3")).get("texts_total"):
            assert time.monotonic() < deadline
            ask(port, "POST", "/invocations", {"inputs": texts[:1]})
            time.sleep(0.2)
        assert found["agreed_total"] == found["texts_total"]
        assert found["difference_total"] == pytest.approx(0, abs=1e-6)
        # Requests that came before the move were version 2's still.
        final = counts(port, "sentiment/2")

    capsys.readouterr()
    registry.promote("--version", "2", "--dry-run")
    (line,) = [one for one in capsys.readouterr().out.splitlines() if one.startswith("shadow")]
    share = f"{100 * final['agreed_total'] / final['texts_total']:.1f}%"
    kept = f"shadow: agreed with sentiment/1 on {share} of {final['texts_total']:g} texts served"
    assert line.startswith(kept)
    registry.promote("--version", "3", "--dry-run")
    assert "shadow: agreed with sentiment/1 on 100.0% of " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--shadow-share", "0.5"], "--shadow-share: name the shadow too"),
        (["--shadow", "challenger", "--shadow-share", "0"], "--shadow-share 0: give a share"),
        (["--shadow", "challenger", "--shadow-share", "nan"], "--shadow-share nan: give a share"),
        (["--shadow", "challenger", "--shadow-share", "1.5"], r"--shadow-share 1\.5: give a"),
    ],
)
def test_shares_that_are_refused(flags: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        serve.main(flags)
