"""Approval of a registered version by a second person: a tag that not its trainer sets."""

from __future__ import annotations

from mlflow import MlflowClient

from sweeps.registry.versions import Candidate

APPROVED_BY = "approved-by"
"""Tag of a version: who approves of its promotion."""

_USER = "mlflow.user"


def approval_refusal(client: MlflowClient, name: str, candidate: Candidate) -> str | None:
    """Return why a candidate does not count as approved; None if it does.

    Anybody who may write to the store can set the tag: it keeps a team from mistakes, not from
    malice.

    Args:
        client: of the store.
        name: the registered model.
        candidate: what would become the champion.
    """
    if candidate.version is None:
        return f"{candidate.title} is no registered version, so nobody can approve of it"
    version = client.get_model_version(name, str(candidate.version))
    trained_by = client.get_run(candidate.run_id).data.tags.get(_USER, "")
    approved_by = version.tags.get(APPROVED_BY, "").strip()
    if not approved_by:
        return (
            f"version {candidate.version} is not approved: somebody other than "
            f"{trained_by or 'its trainer'} sets its tag {APPROVED_BY} to their name, on the "
            "version's page in MLflow"
        )
    if approved_by.casefold() == trained_by.strip().casefold():
        return f"version {candidate.version} is approved by {approved_by}, who trained it"
    return None
