"""A version is approved by a tag that its trainer did not set."""

from __future__ import annotations

import pytest
from winners import Registry

from sweeps import promote as command
from sweeps.registry.approval import APPROVED_BY


@pytest.mark.usefixtures("in_process")
def test_only_somebody_else_s_approval_counts(
    registry: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    won = registry.win(registry.better, "one")
    run_id = registry.client.get_model_version("sentiment", str(won.version)).run_id
    registry.client.set_tag(run_id, "mlflow.user", "ada")
    asked = [*registry.uri, "--yes", "--require-approval"]

    assert command.main(asked) == 1
    assert capsys.readouterr().err == (
        "refused: version 1 is not approved: somebody other than ada sets its tag approved-by to "
        "their name, on the version's page in MLflow\n"
    )
    registry.client.set_model_version_tag("sentiment", "1", APPROVED_BY, "Ada")
    assert command.main(asked) == 1
    assert "version 1 is approved by Ada, who trained it" in capsys.readouterr().err
    registry.client.set_model_version_tag("sentiment", "1", APPROVED_BY, "grace")
    assert command.main(asked) == 0
    assert "version 1 of sentiment is the champion" in capsys.readouterr().out


def test_what_is_no_version_can_not_be_approved(
    registry: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    run_id, _ = registry.train(registry.better)
    data = ["--data", str(registry.reviews[0])]
    asked = [*registry.uri, "--run", run_id, *data, "--yes", "--require-approval"]
    assert command.main(asked) == 1
    assert "is no registered version, so nobody can approve of it" in capsys.readouterr().err
