"""`python -m benchmarks.chaos`: sweeps that are killed again and again, and what their stores say.

A round is a small real sweep on rotten-tomatoes. It is killed at moments that are chosen by
watching its files from outside, gone on with until it ends, and then judged by its stores alone:
MLflow's and Optuna's. Nothing in the product knows of it.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

import optuna
import psutil
from mlflow import MlflowClient
from mlflow.entities import Metric, Run

from sentiment import cli
from sentiment.config import Config
from sentiment.data.datasets import DataConfig
from sentiment.tracking.experiment import default_experiment
from sentiment.tracking.runs import hyperparameters
from sentiment.training.prepared_data import prepare
from sentiment.training.trainer import Trainer
from sweeps.execution.trial_recorder import RECORDED

NAME = "chaos"
BATCH = 64
EPOCHS = 0.5
DUE = (1 / 8, 1 / 4, 1 / 2, 3 / 4, 1)
"""Shares of the budget at which a trial is evaluated."""
SPACE = f"""
cell: {{choice: [rnn, gru]}}
hidden_dim: {{int: [8, 16], log: true}}
learning_rate: {{float: [1e-3, 2e-2], log: true}}
optimizer: {{choice: [sgd, adam]}}
embedding: glove
batch_size: {BATCH}
dropout: 0.2
"""
STATES = {"completed": "COMPLETE", "stopped_early": "PRUNED", "failed": "FAIL"}
MOMENTS = ("start-up", "mid-epoch", "checkpoint", "record", "registration")
TARGETS = ("driver", "everything", "worker", "ray")
LONGEST = 600.0
"""Seconds after which a sweep counts as hung."""


QUERY_PAUSE = 0.02
"""Seconds between two looks into a database: each holds up its writer."""
AGENTS = 150.0
"""Seconds that Ray's agents get to notice that their node is gone; they take a minute."""


@dataclass
class Outcome:
    """What a round came to.

    Attributes:
        kills: what was killed, and when: `driver at checkpoint`.
        trials: trials that the stores have in the end.
        lost: trials, metrics and models that are missing.
        doubled: those that are there twice.
        orphaned: runs and Optuna's trials left running, and processes left behind.
        wrong: whatever else is not as it must be.
    """

    kills: Counter[str] = field(default_factory=Counter)
    trials: int = 0
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    orphaned: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Whether every claim holds."""
        return not (self.lost or self.doubled or self.orphaned or self.wrong)


class Round:
    """One sweep, killed a few times and gone on with until it ends."""

    def __init__(self, folder: Path, trials: int, seed: int, agents: bool = True) -> None:
        """Prepare an empty folder.

        Args:
            folder: the folder.
            trials: of the sweep.
            seed: of the moments.
            agents: whether to wait for the end of Ray's agents, a minute after the last kill.
        """
        self.folder = folder
        self.trials = trials
        self.outcome = Outcome()
        self._agents = agents
        self._random = random.Random(seed)
        (folder / "space.yaml").write_text(SPACE)
        self._mine: set[psutil.Process] = set()
        self._own = folder / ".sweeps" / NAME
        self._log = folder / "output.txt"

    def run(self, kills: list[tuple[str, str]]) -> Outcome:
        """Kill at each (moment, target), go on to the end, and judge the stores."""
        resumable = False
        left = list(kills)
        for _ in range(4 * len(kills) + 4):
            process = self._start(resumable)
            while left and process.poll() is None:
                found = self._reach(left, process)
                if found is None:
                    break
                moment, target = found
                if self._kill(target, process):
                    self.outcome.kills[f"{target} at {moment}"] += 1
                    left.remove(found)
                if target != "worker":
                    break
            status = self._end(process)
            resumable = (self._own / "settings.json").exists()
            if status == 0:
                break
        else:
            self.outcome.wrong.append("the sweep did not end")
        judge(self.folder, self.trials, self.outcome)
        self._end_processes()
        return self.outcome

    def _start(self, resume: bool) -> subprocess.Popen[bytes]:
        if resume:
            arguments = ["--resume", NAME]
        else:
            arguments = ["--dataset", "rotten-tomatoes", "--trials", str(self.trials)]
            arguments += ["--max-epochs", str(EPOCHS), "--space", "space.yaml", "--name", NAME]
            arguments += ["--retries", "9", "--concurrency", "2", "--precision", "float32"]
        environment = {n: v for n, v in os.environ.items() if n != "MLFLOW_TRACKING_URI"}
        with self._log.open("ab") as log:
            log.write(f"--- {' '.join(arguments)}\n".encode())
            log.flush()
            return subprocess.Popen(
                [sys.executable, "-m", "sweeps.launch", "--quiet", *arguments],
                cwd=self.folder,
                env={**environment, "OMP_NUM_THREADS": "1"},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _end(self, process: subprocess.Popen[bytes]) -> int:
        """Wait for a sweep's end, and return its status."""
        self._started(process)
        try:
            status = process.wait(LONGEST)
        except subprocess.TimeoutExpired:
            self.outcome.wrong.append(f"hung: {self.tail()}")
            process.kill()
            status = process.wait()
        # 2 is right where nothing of the sweep was there yet.
        early = status == 2 and not (self._own / "settings.json").exists()
        if status not in (0, 1, -signal.SIGKILL) and not early:
            self.outcome.wrong.append(f"exit status {status}: {self.tail()}")
        if "Traceback" in self._log.read_text(errors="replace"):
            self.outcome.wrong.append(f"a traceback: {self._log}")
        return status

    def _started(self, process: subprocess.Popen[bytes]) -> None:
        """Take note of all that a sweep has started: once it is dead, nobody knows."""
        with suppress(psutil.NoSuchProcess):
            self._mine |= set(psutil.Process(process.pid).children(recursive=True))

    def _end_processes(self) -> None:
        """Wait for the end of all that was started: Ray's agents outlive it by a minute."""
        mine = [each for each in self._mine if self._agents or "Agent" not in _command(each)]
        deadline = time.monotonic() + AGENTS
        while time.monotonic() < deadline and any(map(_runs, mine)):
            time.sleep(0.2)
        for left in filter(_runs, mine):
            self.outcome.orphaned.append(f"process {_command(left)[:80]}")
            left.kill()

    def tail(self) -> str:
        """Return the end of what the sweep printed."""
        return self._log.read_text(errors="replace")[-1500:]

    def _reach(
        self, kills: list[tuple[str, str]], process: subprocess.Popen[bytes]
    ) -> tuple[str, str] | None:
        """Wait for the first of the moments; None if the sweep ended before."""
        waiting = [(self._watch(moment), (moment, target)) for moment, target in kills]
        deadline = time.monotonic() + LONGEST
        while process.poll() is None and time.monotonic() < deadline:
            for reached, kill in waiting:
                if reached():
                    return kill
            time.sleep(0.005)
        return None

    def _watch(self, moment: str) -> Callable[[], bool]:
        """Return a function that tells whether a moment has come."""
        chance = self._random
        own = self._own
        match moment:
            case "start-up":
                return self._start_up()
            case "mid-epoch":
                # After a checkpoint, within the evaluation that follows.
                known = set(own.glob("ray/trial/*/checkpoint_*"))
                delay = chance.uniform(0, 1.5)
                return _later(
                    lambda: set(own.glob("ray/trial/*/checkpoint_*")) - known != set(), delay
                )
            case "checkpoint":
                delay = chance.uniform(0, 0.03)
                return _later(lambda: any(own.glob("ray/trial/scratch/tmp*/*")), delay)
            case "record":
                # Metrics wait a second in the outbox; then they are on their way to MLflow.
                outbox, wanted = own / "record.jsonl", chance.randrange(200, 4_000)
                left = _size(outbox)
                return _later(lambda: left != _size(outbox) > wanted, chance.uniform(0, 1.5))
            case _:
                return self._registration()

    def _start_up(self) -> Callable[[], bool]:
        chance = self._random
        files = [
            self.folder / "mlflow.db",
            self._own / "settings.json",
            self._own / "record.jsonl",
            self._own / "study.db",
            self._own / "ray" / "trial",
        ]
        file = chance.choice([*files, None])
        if file is None or file.exists():
            at = time.monotonic() + chance.uniform(0, 8)
            return lambda: time.monotonic() >= at
        return _later(file.exists, chance.uniform(0, 0.3))

    def _registration(self) -> Callable[[], bool]:
        """From the end of the last trial on, at the first, second or third thing written."""
        chance = self._random
        table = chance.choice(["metrics", "registered_models", "model_versions", None])
        if table is None:
            ended = "SELECT count(*) FROM trials WHERE state != 'RUNNING' HAVING count(*) >= {}"
            query = ended.format(self.trials)
            return _later(_found(self._own / "study.db", query), chance.uniform(0, 2))
        where = " WHERE key = 'test/accuracy'" if table == "metrics" else ""
        query = f"SELECT 1 FROM {table}{where} LIMIT 1"
        return _later(_found(self.folder / "mlflow.db", query), 0)

    def _kill(self, target: str, process: subprocess.Popen[bytes]) -> bool:
        """Kill with SIGKILL; only ever what this round has started."""
        self._started(process)
        if target == "driver":
            process.kill()
            return True
        others = [each for each in self._mine if _runs(each)]
        workers = [each for each in others if _command(each).startswith("ray::")]
        match target:
            case "worker":
                # Ray names a worker by what it does just then.
                names = ("ray::TrialWorker", "ray::ResourceTrainable")
                training = [each for each in workers if _command(each).startswith(names)]
                chosen = [self._random.choice(training)] if training else []
            case "ray":
                chosen = others
            case _:
                process.kill()
                chosen = others
        for each in chosen:
            with suppress(psutil.NoSuchProcess):
                each.kill()
        if target == "worker":
            time.sleep(0.5)
        return bool(chosen)


def _runs(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def _command(process: psutil.Process) -> str:
    with suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""


def _later(condition: Callable[[], bool], seconds: float) -> Callable[[], bool]:
    """Return a function that tells whether so many seconds have passed since a condition held."""
    since: list[float] = []

    def reached() -> bool:
        if not since and condition():
            since.append(time.monotonic())
        return bool(since) and time.monotonic() >= since[0] + seconds

    return reached


def _size(file: Path) -> int:
    with suppress(OSError):
        return file.stat().st_size
    return 0


def _found(database: Path, query: str) -> Callable[[], bool]:
    """Return a function that tells whether a query finds anything, asked now and then."""
    asked = [0.0]

    def found() -> bool:
        if time.monotonic() < asked[0] + QUERY_PAUSE or not database.exists():
            return False
        asked[0] = time.monotonic()
        try:
            uri = f"file:{database}?mode=ro"
            with closing(sqlite3.connect(uri, uri=True, timeout=0)) as opened:
                return opened.execute(query).fetchone() is not None
        except sqlite3.Error:
            return False

    return found


def judge(folder: Path, trials: int, outcome: Outcome) -> None:
    """Check every claim from the stores of a sweep that has ended."""
    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    experiment = client.get_experiment_by_name(default_experiment())
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], max_results=1000)
    for run in runs:
        if run.info.status == "RUNNING":
            outcome.orphaned.append(f"run {run.info.run_name}")
    parents = [run for run in runs if run.data.tags["sweep.role"] == "sweep"]
    if not parents:
        outcome.lost.append("the run of the sweep")
        return
    if len(parents) > 1:
        outcome.doubled.append(f"{len(parents)} runs of the sweep")
    parent = parents[0]
    if (parent.info.status, parent.data.tags["sweep.state"]) != ("FINISHED", "finished"):
        outcome.wrong.append(f"the sweep's run is {parent.info.status}")
    found: dict[int, Run] = {}
    for run in runs:
        if run.data.tags["sweep.role"] == "trial":
            number = int(run.data.tags["sweep.trial"])
            if number in found:
                outcome.doubled.append(f"run of trial {number}")
            found[number] = run
    outcome.trials = len(found)
    outcome.lost += [f"run of trial {n}" for n in sorted(set(range(trials)) - set(found))]
    outcome.wrong += [
        f"trial {number} was not asked for" for number in set(found) - {*range(trials)}
    ]
    study = optuna.load_study(
        study_name=NAME, storage=f"sqlite:///{folder}/.sweeps/{NAME}/study.db"
    )
    asked = {}
    for trial in study.get_trials(deepcopy=False):
        if trial.state.name == "RUNNING":
            outcome.orphaned.append(f"Optuna's trial {trial.number}")
        if "trial" in trial.user_attrs:
            if trial.user_attrs["trial"] in asked:
                outcome.doubled.append(f"Optuna's trial {trial.user_attrs['trial']}")
            asked[trial.user_attrs["trial"]] = trial
    outcome.lost += [f"Optuna's trial {n}" for n in sorted(set(range(trials)) - set(asked))]
    models = Counter(
        model.source_run_id
        for model in client.search_logged_models([experiment.experiment_id], max_results=1000)
    )
    for number, run in sorted(found.items()):
        if number in asked:
            _judge_trial(client, number, run, asked[number], outcome)
        if models[run.info.run_id] < 1:
            outcome.lost.append(f"model of trial {number}")
        if models[run.info.run_id] > 1:
            outcome.doubled.append(f"model of trial {number}")
    _judge_sweep(client, parent, list(found.values()), trials, outcome)


def _judge_trial(
    client: MlflowClient, number: int, run: Run, trial: optuna.trial.FrozenTrial, outcome: Outcome
) -> None:
    ended = run.data.tags.get("sweep.outcome", "none")
    if ended not in ("completed", "stopped_early") or run.info.status != "FINISHED":
        outcome.wrong.append(f"trial {number} is {ended}, {run.info.status}")
    if STATES.get(ended) != trial.state.name:
        outcome.wrong.append(f"trial {number} is {ended}, Optuna's {trial.state.name}")
    if not run.data.params.get("learning_rate"):
        outcome.lost.append(f"parameters of trial {number}")
    examples = 5_970
    points = [share * EPOCHS * examples for share in DUE]
    for name in RECORDED:
        steps = _steps(client, run, name, f"trial {number}", outcome)
        due = [step for step in steps if step]
        for place, step in enumerate(due, start=1):
            point = points[place - 1] if place <= len(points) else math.inf
            if not point <= step < point + BATCH:
                outcome.lost.append(f"{name} of trial {number}: step {step} is evaluation {place}")
        if set(due) != set(trial.intermediate_values):
            outcome.lost.append(f"{name} of trial {number}: {due} are not Optuna's steps")
    accuracy = {m.step: m.value for m in _history(client, run, "valid/accuracy")}
    if accuracy != trial.intermediate_values:
        outcome.wrong.append(f"trial {number}: Optuna has other values")
    if ended == "completed" and len(accuracy) != len(DUE):
        outcome.lost.append(f"trial {number} completed after {len(accuracy)} evaluations")
    for name, best in (("best/valid/accuracy", max(accuracy.values(), default=-1)),):
        if run.data.metrics.get(name) != best:
            outcome.wrong.append(f"{name} of trial {number} is not {best}")
    for name in ("best/valid/accuracy", "best/examples", "parameters/total", "seconds/total"):
        if len(_history(client, run, name)) != 1:
            outcome.doubled.append(f"{name} of trial {number}")


def _judge_sweep(
    client: MlflowClient, parent: Run, runs: list[Run], trials: int, outcome: Outcome
) -> None:
    for name in ("sweep/completed", "sweep/stopped_early", "sweep/failed", "sweep/best"):
        steps = _steps(client, parent, name, "the sweep", outcome)
        if set(steps) != set(range(1, trials + 1)):
            outcome.lost.append(f"{name} of the sweep: steps {steps}")
    scored = [run for run in runs if any(n.startswith("test/") for n in run.data.metrics)]
    versions = client.search_model_versions("name = 'sentiment'")
    if len(versions) != 1:
        (outcome.doubled if versions else outcome.lost).append(f"{len(versions)} versions")
        return
    best = max(runs, key=lambda run: run.data.metrics.get("best/valid/accuracy", -1))
    top = best.data.metrics["best/valid/accuracy"]
    if [run.info.run_id for run in scored] != [versions[0].run_id]:
        outcome.wrong.append(f"{len(scored)} trials are scored on the test split")
    elif scored[0].data.metrics["best/valid/accuracy"] != top:
        outcome.wrong.append("the registered trial is not the best")
    elif len(_history(client, scored[0], "test/accuracy")) != 1:
        outcome.doubled.append("test/accuracy")
    aliases = client.get_registered_model("sentiment").aliases
    if {name: int(number) for name, number in aliases.items()} != {"challenger": 1}:
        outcome.wrong.append("the version is not the challenger")


def _history(client: MlflowClient, run: Run, name: str) -> list[Metric]:
    metrics: list[Metric] = client.get_metric_history(run.info.run_id, name)
    return sorted(metrics, key=lambda metric: metric.step)


def _steps(client: MlflowClient, run: Run, name: str, of: str, outcome: Outcome) -> list[int]:
    """Return the steps of a metric, each once; note those that are there twice."""
    count = Counter(metric.step for metric in _history(client, run, name))
    # The best checkpoint's own metrics have its step too, under names of their own.
    outcome.doubled += [f"{name} of {of} at {step}" for step, n in count.items() if n > 1]
    return sorted(count)


def retrained(folder: Path, number: int) -> list[str]:
    """Train a trial once more without a break; return what the record has otherwise."""
    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    experiment = client.get_experiment_by_name(default_experiment())
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id], f"tags.`sweep.trial` = '{number}'")
    config = Config.from_flat(hyperparameters(run.data.params))
    prepared = prepare(DataConfig(dataset="rotten-tomatoes"), [config])
    trainer = Trainer(config, *prepared.for_config(config))
    recorded = {
        name: {metric.step: metric.value for metric in _history(client, run, name)}
        for name in ("train/loss", "valid/loss", "valid/accuracy", "learning_rate")
    }
    different = []
    for evaluation in trainer.evaluations():
        if evaluation.examples not in recorded["valid/loss"]:
            break
        for name, values in recorded.items():
            value = evaluation.metrics[name]
            if values[evaluation.examples] != value:
                different.append(f"{name} at {evaluation.examples}: {value} alone, not {values}")
    return different


def planned(rounds: int, kills: int, seed: int) -> Iterator[list[tuple[str, str]]]:
    """Yield for each round the kills: (moment, target)."""
    chance = random.Random(seed)
    moments = list(MOMENTS) * (1 + rounds * kills // len(MOMENTS))
    for index in range(rounds):
        chosen = [moments[index * kills + i] for i in range(kills)]
        order = sorted(chosen, key=MOMENTS.index)
        # There is no worker at the start, nor at the end.
        yield [
            (one, chance.choice(TARGETS if one in MOMENTS[1:4] else ("driver", "everything")))
            for one in order
        ]


def _round(
    kills: list[tuple[str, str]], trials: int, seed: int, index: int, keep: Path | None
) -> tuple[int, float, Outcome]:
    """Run a round in a folder of its own; return its index, its seconds and its outcome."""
    started = time.monotonic()
    scratch = Path(tempfile.mkdtemp(prefix="chaos-"))
    outcome = Round(scratch, trials, seed * 1000 + index).run(kills)
    if outcome.clean:
        outcome.wrong += retrained(scratch, index % trials)
    if not outcome.clean and keep:
        shutil.move(scratch, keep / f"round-{seed}-{index}")
    shutil.rmtree(scratch, ignore_errors=True)
    return index, time.monotonic() - started, outcome


def main(argv: list[str] | None = None) -> int:
    """Run the rounds, print each, and the figures at the end."""
    parser = cli.Parser(
        prog="python -m benchmarks.chaos",
        description="Kill sweeps at chosen moments, go on with them, and judge their stores.",
    )
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--kills", type=int, default=3, help="of a round")
    parser.add_argument("--trials", type=int, default=6, help="of a round's sweep")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1, help="rounds at once")
    parser.add_argument("--keep", metavar="DIR", help="where rounds that fail are kept")
    args = parser.parse_args(argv)
    total, failed, trials = Counter[str](), 0, 0
    lost = doubled = orphaned = 0
    keep = Path(args.keep).resolve() if args.keep else None
    with ProcessPoolExecutor(args.jobs, multiprocessing.get_context("spawn")) as pool:
        rounds = [
            pool.submit(_round, kills, args.trials, args.seed, index, keep)
            for index, kills in enumerate(planned(args.rounds, args.kills, args.seed))
        ]
        for finished in as_completed(rounds):
            index, seconds, outcome = finished.result()
            total += outcome.kills
            trials += outcome.trials
            lost += len(outcome.lost)
            doubled += len(outcome.doubled)
            orphaned += len(outcome.orphaned)
            failed += not outcome.clean
            done = ", ".join(outcome.kills.elements()) or "none"
            state = "clean" if outcome.clean else f"NOT CLEAN: {outcome}"
            print(f"round {index}: {seconds:.0f} s, {done}: {state}", flush=True)
    print(f"rounds {args.rounds}, kills {total.total()}, trials {trials}")
    for kind, count in sorted(total.items()):
        print(f"  {kind}: {count}")
    print(f"lost {lost}, doubled {doubled}, orphaned {orphaned}, rounds not clean {failed}")
    return 1 if failed else 0


if __name__ == "__main__":
    cli.run(main)
