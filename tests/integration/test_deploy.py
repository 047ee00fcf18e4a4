"""The files of `deploy/`: their schemas, the commands in them, and the Slurm script on real Ray."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
PINS = dict(
    line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if line
)
LAUNCH = "python -m sweeps.launch "
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]

SWEEP = """
import json, pathlib, signal, sys
import ray

ray.init(sys.argv[2], logging_level="critical", log_to_driver=False)
pairs = dict(zip(sys.argv, sys.argv[1:]))
name = pairs.get("--name") or pairs["--resume"]
folder = pathlib.Path(".sweeps", name)
folder.mkdir(parents=True, exist_ok=True)
(folder / "settings.json").touch()
signal.signal(signal.SIGTERM, lambda *_: sys.exit(130))
seen = {"arguments": sys.argv[1:], "nodes": len(ray.nodes())}
seen["cpus"] = ray.cluster_resources()["CPU"]
pathlib.Path("seen.json.part").write_text(json.dumps(seen))
pathlib.Path("seen.json.part").rename("seen.json")
signal.pause()
"""


def _yaml(name: str) -> Any:
    return yaml.safe_load((DEPLOY / name).read_text())


def _options(arguments: list[str]) -> dict[str, str]:
    """Return what stands after each option."""
    return {
        option: value
        for option, value in zip(arguments, [*arguments[1:], "--"], strict=True)
        if option.startswith("--") and not value.startswith("--")
    }


def _parse(arguments: list[str]) -> Any:
    """Read the arguments of a sweep as it would, as far as that needs neither data nor store."""
    from sweeps.launch import _parser
    from sweeps.pipeline.flags import read_settings

    args = _parser().parse_args(arguments)
    if args.resume is None:
        read_settings(args)
    return args


def _commands(text: str) -> list[list[str]]:
    """Return the arguments of each sweep that a text tells to launch, lines continued or not."""
    text = re.sub(r"\n\s*#\s+(?=--)|\\\n\s*", " ", text)
    return [
        shlex.split(line.partition(LAUNCH)[2].rstrip("'`. "), comments=True)
        for line in text.splitlines()
        if LAUNCH in line and "..." not in line
    ]


def test_compose_file_fits_the_schema_of_compose() -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "check_jsonschema"),
            *("--builtin-schema", "vendor.compose-spec", str(DEPLOY / "compose.yaml")),
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_service_is_published_beyond_this_machine_or_starts_without_passwords() -> None:
    services = _yaml("compose.yaml")["services"]
    for name, service in services.items():
        for port in service["ports"]:
            assert port.startswith("127.0.0.1:"), name
        assert "healthcheck" in service, name
        for variable, value in service["environment"].items():
            if re.search("PASSWORD|KEY", variable):
                assert re.fullmatch(r"\$\{\w+:\?.+\}", value), variable
    needed = set(re.findall(r"\$\{(\w+):\?", (DEPLOY / "compose.yaml").read_text()))
    example = (DEPLOY / ".env.example").read_text().splitlines()
    assert needed == {line[:-1] for line in example if line.endswith("=")}
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    assert "/deploy/.env" in ignored


def test_mlflow_knows_the_options_of_its_service() -> None:
    from mlflow.cli import cli

    program, command, *arguments = _yaml("compose.yaml")["services"]["mlflow"]["command"]
    assert program == "mlflow"
    given = [re.sub(r"\$\{\w+:-(.*)\}", r"\1", argument) for argument in arguments]
    options = cli.commands[command].make_context(command, given).params
    assert options["serve_artifacts"]
    assert options["artifacts_destination"] == "s3://mlflow"
    assert options["allowed_hosts"].split(",") == ["localhost:*", "127.0.0.1:*", "mlflow:*"]


def test_cluster_fits_rays_schema() -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    cluster = prepare_config(_yaml("ray-cluster.yaml"))
    validate_config(cluster)
    assert cluster["available_node_types"]["head"]["resources"] == {"CPU": 0}


def test_ray_knows_the_options_that_its_nodes_start_with() -> None:
    from ray.scripts.scripts import start

    cluster = _yaml("ray-cluster.yaml")
    for key in ("head_start_ray_commands", "worker_start_ray_commands"):
        _, command = cluster[key]
        arguments = shlex.split(command.partition(" ray start ")[2])
        assert start.make_context("start", arguments)


def test_versions_are_those_that_are_pinned() -> None:
    services = _yaml("compose.yaml")["services"]
    assert services["mlflow"]["image"] == f"ghcr.io/mlflow/mlflow:v{PINS['mlflow']}-full"
    _, job = yaml.safe_load_all((DEPLOY / "rayjob.yaml").read_text())
    assert job["spec"]["rayClusterSpec"]["rayVersion"] == PINS["ray"]
    ours = []
    for name in ("rayjob.yaml", "ray-cluster.yaml", "Dockerfile", "serve.Dockerfile"):
        ours += re.findall(r"/sentiment-sweeps(?:-node|-serve)?:(\S+)", (DEPLOY / name).read_text())
    assert len(ours) == 9
    assert set(ours) == {VERSION}


def test_image_installs_what_the_project_needs(tmp_path: Path) -> None:
    text = (DEPLOY / "Dockerfile").read_text().replace("\\\n", " ")
    (code,) = re.findall(r"python -c '([^']+)' > requirements.txt", text)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = done.stdout.splitlines()
    assert set(project["dependencies"]) < set(lines)
    assert lines[-1] == "ray[default]"


@pytest.mark.parametrize("begun", [False, True])
def test_job_on_kubernetes_begins_or_goes_on(begun: bool, tmp_path: Path) -> None:
    """The head's shell reads the entrypoint; here a stand-in of Python hears what it is asked."""
    claim, job = yaml.safe_load_all((DEPLOY / "rayjob.yaml").read_text())
    cluster = job["spec"]["rayClusterSpec"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        (volume,) = group["template"]["spec"]["volumes"]
        assert volume["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
        (container,) = group["template"]["spec"]["containers"]
        assert container["volumeMounts"] == [{"name": volume["name"], "mountPath": "/sweeps"}]
    if begun:
        (tmp_path / ".sweeps" / "imdb").mkdir(parents=True)
        (tmp_path / ".sweeps" / "imdb" / "settings.json").touch()
    _script(tmp_path / "bin" / "python", 'printf "%s\\n" "$@"')
    entrypoint = job["spec"]["entrypoint"].replace("cd /sweeps", f"cd {shlex.quote(str(tmp_path))}")
    done = subprocess.run(
        ["sh", "-c", entrypoint],
        env={"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )
    _, module, *arguments = done.stdout.splitlines()
    assert module == "sweeps.launch"
    _parse(arguments)
    options = _options(arguments)
    assert options["--address"] == "auto"
    assert (options.get("--name"), options.get("--resume")) == (
        (None, "imdb") if begun else ("imdb", None)
    )


@pytest.mark.parametrize(
    "file", ["deploy/compose.yaml", "deploy/ray-cluster.yaml", "docs/scaling.md"]
)
def test_sweeps_that_are_told_to_launch_are_ones_that_can_be(file: str) -> None:
    for arguments in _commands((ROOT / file).read_text()):
        _parse(arguments)


def test_commands_are_found() -> None:
    assert _commands((DEPLOY / "ray-cluster.yaml").read_text())[0][:2] == ["--address", "auto"]
    assert len(_commands((ROOT / "docs" / "scaling.md").read_text())) >= 5


def _script(path: Path, body: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/usr/bin/env bash\n{body}\n")
    path.chmod(0o755)


@pytest.fixture
def allocation(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment of a Slurm job of two nodes, both of which are this machine."""
    tools = tmp_path / "bin"
    _script(tools / "srun", 'while [[ $1 == --* ]]; do shift; done; exec "$@"')
    _script(
        tools / "scontrol",
        'if [[ $1 == show ]]; then tr , "\\n" <<< "$3"; else echo "$@" >> scontrol.log; fi',
    )
    (tmp_path / "sweep.py").write_text(SWEEP)
    real = shlex.quote(sys.executable)
    _script(
        tools / "python",
        f'if [[ $1 == -m && $2 == sweeps.launch ]]; then shift 2; exec {real} sweep.py "$@"; fi\n'
        f'exec {real} "$@"',
    )
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("SWEEP")},
        "PATH": f"{tools}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "SLURM_JOB_ID": str(os.getpid()),
        "SLURM_SUBMIT_DIR": str(tmp_path),
        "SLURM_JOB_NODELIST": "here,there",
        "SLURM_JOB_NUM_NODES": "2",
        "SLURM_CPUS_PER_TASK": "3",
        "SWEEP": "night",
        "SWEEP_NODE_ADDRESS": "127.0.0.1",
        "SWEEP_STUDY_STORAGE": "postgresql://optuna@db/optuna",
    }
    yield environment


def _run_job(environment: dict[str, str], number: signal.Signals) -> tuple[dict[str, Any], str]:
    """Run the Slurm script until its sweep runs, send it a signal; return what both said."""
    folder = Path(environment["SLURM_SUBMIT_DIR"])
    (folder / "seen.json").unlink(missing_ok=True)
    with (folder / "log").open("w") as log:
        job = subprocess.Popen(
            ["bash", str(DEPLOY / "slurm.sh"), "--trials", "7"],
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        while not (folder / "seen.json").exists():
            assert job.poll() is None, (folder / "log").read_text()
            time.sleep(0.1)
        job.send_signal(number)
        assert job.wait(timeout=120) == 130, (folder / "log").read_text()
    finally:
        for process in psutil.process_iter():
            with contextlib.suppress(ProcessLookupError, psutil.NoSuchProcess):
                if os.getsid(process.pid) == job.pid:
                    process.kill()
    assert not Path(f"/tmp/ray-{environment['SLURM_JOB_ID']}").exists()
    calls = folder / "scontrol.log"
    return json.loads((folder / "seen.json").read_text()), (
        calls.read_text() if calls.exists() else ""
    )


def test_slurm_job_runs_a_sweep_on_all_nodes_and_queues_itself_again(
    allocation: dict[str, str],
) -> None:
    """On real Ray nodes; the sweep is a stand-in that joins the cluster, and so is Slurm."""
    seen, calls = _run_job(allocation, signal.SIGUSR1)
    assert (seen["nodes"], seen["cpus"]) == (2, 6)
    assert calls == f"requeue {allocation['SLURM_JOB_ID']}\n"
    _parse(seen["arguments"])
    options = _options(seen["arguments"])
    assert re.fullmatch(r"127\.0\.0\.1:\d+", options.pop("--address"))
    where = {
        "--storage": f"{allocation['SLURM_SUBMIT_DIR']}/checkpoints",
        "--study-storage": "postgresql://optuna@db/optuna",
        "--experiment": "sentiment",
    }
    assert options == {**where, "--name": "night", "--trials": "7"}

    # Queued again it goes on; scancel does not queue it a second time.
    seen, calls = _run_job({**allocation, "SLURM_JOB_NUM_NODES": "1"}, signal.SIGTERM)
    assert (seen["nodes"], seen["cpus"]) == (1, 3)
    assert calls.count("requeue") == 1
    _parse(seen["arguments"])
    again = _options(seen["arguments"])
    del again["--address"]
    assert again == {**where, "--resume": "night"}


def test_slurm_job_whose_nodes_do_not_start_ends_at_once(allocation: dict[str, str]) -> None:
    folder = Path(allocation["SLURM_SUBMIT_DIR"])
    _script(folder / "bin" / "ray", "exit 3")
    done = subprocess.run(
        ["bash", str(DEPLOY / "slurm.sh")],
        env=allocation,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode in (1, 3)
    assert not (folder / "seen.json").exists()
    assert not (folder / "scontrol.log").exists()


@pytest.mark.parametrize("script", ["slurm.sh", "postgres/databases.sh"])
def test_scripts_are_well_formed(script: str) -> None:
    path = DEPLOY / script
    assert os.access(path, os.X_OK)
    subprocess.run(["bash", "-n", str(path)], check=True)
