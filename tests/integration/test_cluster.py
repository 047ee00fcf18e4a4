"""Sweeps over a real Ray cluster, a real PostgreSQL and a real MLflow server."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import optuna
import pytest
from mlflow import MlflowClient
from optuna.trial import TrialState
from services import mlflow_server, postgresql, ray_cluster

import sentiment
from sentiment.io.cache import cache_root
from sweeps.tracking.takeovers import TAKEOVERS_TAG

SPACE = """
cell: {choice: [rnn, gru, lstm]}
hidden_dim: {int: [16, 32], log: true}
embedding: {choice: [glove, random]}
optimizer: adam
learning_rate: {float: [1e-3, 2e-2], log: true}
"""


@pytest.fixture(scope="module")
def team(tmp_path_factory):
    """What a team has: databases, a tracking server, a disk that all nodes share."""
    folder = tmp_path_factory.mktemp("team")
    with (
        postgresql("mlflow", "optuna") as database,
        mlflow_server(database("mlflow"), folder) as server,
    ):
        team = Team(folder, database("optuna"), server)
        yield team
        for process in team.processes:
            process.kill()
            process.wait()


class Team:
    def __init__(self, folder: Path, studies: str, server: str) -> None:
        self.studies, self.server = studies, server
        self.shared = folder / "shared"
        self.shared.mkdir()
        self.client = MlflowClient(server)
        self.processes: list[subprocess.Popen[str]] = []

    def launch(self, cluster, folder: Path, *arguments: str) -> subprocess.Popen[str]:
        """Start the command in a folder, as on the machine that has it."""
        folder.mkdir(exist_ok=True)
        (folder / "space.yaml").write_text(SPACE)
        command = [sys.executable, "-m", "sweeps.launch", "--address", cluster.address]
        command += ["--storage", str(self.shared), "--study-storage", self.studies]
        command += ["--tracking-uri", self.server, "--quiet"]
        process = subprocess.Popen(
            [*command, *arguments],
            cwd=folder,
            env={**cluster.environment, "PYTHONPATH": os.pathsep.join(sys.path)},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self.processes.append(process)
        return process

    def runs(self, name: str, role: str = "trial"):
        experiment = self.client.get_experiment_by_name("sentiment")
        found = self.client.search_runs(
            [experiment.experiment_id] if experiment else [],
            f"tags.`sweep.name` = '{name}' and tags.`sweep.role` = '{role}'",
        )
        return sorted(found, key=lambda run: int(run.data.tags.get("sweep.trial", 0)))

    def wait_for(self, name: str, evaluations: int, process) -> None:
        """Wait until the trials of a sweep have been evaluated so often."""
        deadline = time.monotonic() + 400
        while time.monotonic() < deadline:
            steps = [
                len(self.client.get_metric_history(run.info.run_id, "epoch"))
                for run in self.runs(name)
            ]
            if sum(steps) >= evaluations:
                return
            assert process.poll() is None, process.stdout.read()
            time.sleep(0.5)  # each look costs the server a few requests
        raise AssertionError("no trial was evaluated")

    def failures(self, run) -> str:
        """What a trial has failed with."""
        run_id = run.info.run_id
        names = [each.path for each in self.client.list_artifacts(run_id)]
        failed = [each for each in names if each.startswith("failure-")]
        files = [Path(self.client.download_artifacts(run_id, each)) for each in failed]
        return "\n".join(file.read_text() for file in files)

    def check_whole(self, name: str, trials: int) -> None:
        """Every trial has one run, with each evaluation once, and has ended well everywhere."""
        (parent,) = self.runs(name, "sweep")
        assert (parent.info.status, parent.data.tags["sweep.state"]) == ("FINISHED", "finished")
        runs = self.runs(name)
        assert [int(run.data.tags["sweep.trial"]) for run in runs] == list(range(trials))
        for run in runs:
            assert run.info.status == "FINISHED", self.failures(run)
            assert run.data.tags["sweep.outcome"] in ("completed", "stopped_early")
            steps = [m.step for m in self.client.get_metric_history(run.info.run_id, "epoch")]
            assert steps
            assert steps == sorted(set(steps))
        study = optuna.load_study(study_name=name, storage=self.studies)
        assert {trial.state for trial in study.trials} <= {TrialState.COMPLETE, TrialState.PRUNED}
        assert len(study.trials) == trials
        versions = self.client.search_model_versions("name='sentiment'")
        assert [each.tags["sweep.name"] for each in versions].count(name) == 1
        # Checkpoints of trials that have ended are of no use.
        assert not (self.shared / name).exists()


@pytest.fixture
def hidden(tmp_path):
    """Folders that only the machine of the driver has: its own, the code's and the cache's."""
    packages = Path(sentiment.__file__).parent.parent
    cache = cache_root()
    cache.mkdir(parents=True, exist_ok=True)
    return [tmp_path, packages / "sentiment", packages / "sweeps", cache]


def finish(process, seconds: float = 400) -> str:
    output, _ = process.communicate(timeout=seconds)
    assert process.returncode == 0, output
    return output


def test_nodes_that_see_nothing_of_the_drivers_disk_train_and_replace_others(
    team, hidden, tmp_path, tmp_path_factory
):
    with ray_cluster(tmp_path_factory.mktemp("nodes"), hidden, nodes=2) as cluster:
        arguments = ["--dataset", "rotten-tomatoes", "--space", "space.yaml", "--max-epochs", "4"]
        arguments += ["--trials", "5", "--retries", "0"]
        process = team.launch(cluster, tmp_path / "here", *arguments, "--name", "wide")
        team.wait_for("wide", 2, process)
        # The one that comes later gets the work of both when they are gone.
        third = cluster.add_node()
        for gone in cluster.nodes[1:3]:
            gone.kill()
        output = finish(process)
        assert "2 at once, 1 CPU thread each, of 2 cores" in output
        assert "lost its node; it resumes from its last checkpoint, on another" in output
        assert third.poll() is None
        team.check_whole("wide", 5)
        models = {run.outputs.model_outputs[0].model_id for run in team.runs("wide")}
        assert len(models) == 5
        # A folder that the nodes don't share is refused before anything is recorded.
        unshared = team.launch(
            cluster, tmp_path / "here", *arguments, "--storage", "mine", "--name", "narrow"
        )
        output, _ = unshared.communicate(timeout=100)
        assert unshared.returncode == 2
        assert output.count("\n") <= 3
        assert "give --storage a folder on a disk that all nodes share" in output
        assert not (tmp_path / "here" / "mine").exists()
        assert not team.runs("narrow", "sweep")


@pytest.mark.slow
def test_a_sweep_goes_on_from_another_machine(team, hidden, tmp_path, tmp_path_factory):
    with ray_cluster(tmp_path_factory.mktemp("nodes"), hidden, nodes=2) as cluster:
        arguments = ["--dataset", "rotten-tomatoes", "--space", "space.yaml", "--max-epochs", "6"]
        arguments += ["--trials", "5", "--scheduler", "fifo"]
        here = team.launch(cluster, tmp_path / "here", *arguments, "--name", "cut")
        team.wait_for("cut", 3, here)
        beside = team.launch(cluster, tmp_path / "there", "--resume", "cut")
        output, _ = beside.communicate(timeout=100)
        assert (beside.returncode, "is running" in output) == (2, True)
        here.send_signal(signal.SIGKILL)
        here.wait()
        shutil.rmtree(tmp_path / "here")
        before = {run.info.run_id for run in team.runs("cut")}
        # Meanwhile another sweep goes into the same experiment.
        other = team.launch(cluster, tmp_path / "other", *arguments, "--name", "beside")
        finish(team.launch(cluster, tmp_path / "there", "--resume", "cut"))
        finish(other)
        team.check_whole("cut", 5)
        assert before <= {run.info.run_id for run in team.runs("cut")}
        (parent,) = team.runs("beside", "sweep")
        assert parent.data.tags["sweep.state"] == "finished"
        assert len(team.runs("beside")) == 5


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("scheduler", ["hyperband", "median", "pbt"])
def test_three_nodes_of_32_workers_train_under_each_scheduler(
    scheduler, team, hidden, tmp_path, tmp_path_factory
):
    nodes = tmp_path_factory.mktemp("nodes")
    with ray_cluster(nodes, hidden, nodes=3, cores=11) as cluster:
        space = "pbt" if scheduler == "pbt" else "space.yaml"
        arguments = ["--dataset", "rotten-tomatoes", "--space", space, "--max-epochs", "0.6"]
        arguments += ["--trials", "36", "--concurrency", "32", "--finalists", "0", "--no-baseline"]
        arguments += ["--set", "embedding=random", "--scheduler", scheduler, "--name", scheduler]
        output = finish(team.launch(cluster, tmp_path / "here", *arguments), seconds=1000)
        assert "32 at once, 1 CPU thread each, of 33 cores" in output
        team.check_whole(scheduler, 36)
        tags = [run.data.tags for run in team.runs(scheduler)]
        if scheduler == "pbt":
            assert {each["sweep.outcome"] for each in tags} == {"completed"}
            assert sum(TAKEOVERS_TAG in each for each in tags) >= 9
        else:
            assert "stopped_early" in {each["sweep.outcome"] for each in tags}
