"""`deploy/serve.Dockerfile`: its files, its packages, its commands, and its server as it starts it.

No container is built here: what the instructions name is checked, and what they run is run.
"""

from __future__ import annotations

import importlib.metadata
import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from services import answers, free_port, wait_until
from toy_bundle import toy_bundle

from sentiment import export

ROOT = Path(__file__).parents[2]
FILE = ROOT / "deploy" / "serve.Dockerfile"
TEXT = FILE.read_text(encoding="utf-8")
MODEL = "deploy/model"
PORT = 8000
PARSING = """
import json, sys
from pip._internal.commands import create_command

found = []
for words in map(json.loads, sys.argv[1:]):
    options, names = create_command("install").parse_args(words)
    found.append((names, vars(options)))
print(json.dumps(found, default=str))
"""


def instructions() -> list[tuple[str, str]]:
    """Return each instruction with its arguments, lines continued."""
    lines = [line for line in TEXT.splitlines() if line and not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines()
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in joined)]


def arguments(name: str) -> list[str]:
    """Return the arguments of every instruction of a name."""
    return [rest for word, rest in instructions() if word == name]


def steps() -> list[list[str]]:
    """Return the words of each command that the build runs."""
    return [shlex.split(part) for run in arguments("RUN") for part in run.split("&&")]


def pip_installs() -> list[tuple[list[str], SimpleNamespace]]:
    """Return what each `pip install` of the build installs, and its options as pip reads them."""
    commands = [words[2:] for words in steps() if words[:2] == ["pip", "install"]]
    # In a process of its own: pip and setuptools can't both import distutils in one.
    read = subprocess.run(
        [sys.executable, "-c", PARSING, *map(json.dumps, commands)],
        check=True,
        capture_output=True,
        text=True,
    )
    return [(names, SimpleNamespace(**options)) for names, options in json.loads(read.stdout)]


def normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def needed(packages: list[str]) -> set[str]:
    """Return packages with all that they need, as it is installed here."""
    found: set[str] = set()
    left = [normalised(each) for each in packages]
    while left:
        name = left.pop()
        if name in found:
            continue
        found.add(name)
        try:
            requirements = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue  # for another system
        for each in requirements:
            if "extra ==" not in each and (start := re.match(r"[\w.-]+", each)):
                left.append(normalised(start[0]))
    return found


def header(command: str) -> list[str]:
    """Return the words of a command that the comments at the head tell to run."""
    (line,) = re.findall(rf"^#   ({re.escape(command)} .+)$", TEXT, re.MULTILINE)
    return shlex.split(line)


def test_instructions_are_dockers_in_a_working_order() -> None:
    names = [name for name, _ in instructions()]
    assert set(names) == {
        *("ARG", "CMD", "COPY", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "RUN", "USER", "WORKDIR")
    }
    assert names[0] == "FROM" and names.count("FROM") == names.count("CMD") == 1
    assert names[-1] == "CMD"
    node = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")
    assert f"FROM {arguments('FROM')[0]} " in node
    for run in arguments("RUN"):
        assert subprocess.run(["sh", "-n", "-c", run]).returncode == 0, run


def test_it_copies_what_is_there_and_in_the_context() -> None:
    allowed = (FILE.parent / f"{FILE.name}.dockerignore").read_text().splitlines()
    assert allowed[0] == "*"
    copied = [
        source
        for copy in arguments("COPY")
        for source in [word for word in shlex.split(copy) if not word.startswith("--")][:-1]
    ]
    assert {f"!{source}" for source in copied} == {each for each in allowed if each[0] == "!"}
    for source in copied:
        # The model is what the header's first command writes, and no part of the repository.
        assert (ROOT / source).exists() or source == MODEL, source
    assert f"/{MODEL}/" in (ROOT / ".gitignore").read_text().splitlines()
    installed = set(copied) - {MODEL, "constraints.txt"}
    assert installed == {"pyproject.toml", "README.md", "LICENSE", "sentiment", "sweeps"}


def test_it_runs_as_a_user_that_it_makes() -> None:
    (made,) = [words for words in steps() if words[0] == "useradd"]
    (user,) = arguments("USER")
    assert made[-1] == user != "root"
    last = [name for name, _ in instructions()]
    assert last.index("USER") < last.index("CMD")
    assert f"--chown={user}:{user}" in next(copy for copy in arguments("COPY") if MODEL in copy)
    if shutil.which("useradd"):
        known = subprocess.run(["useradd", "--help"], capture_output=True, text=True).stdout
        for option in [word for word in made if word.startswith("--")]:
            assert option in known


def test_packages_are_pinned_dependencies_of_the_project() -> None:
    (names, options), (project, alone) = pip_installs()
    assert options.constraints[-1] == "constraints.txt"  # after those of this machine's pip
    assert (project, alone.ignore_dependencies) == (["."], True)
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    known = {normalised(re.match(r"[\w.-]+", each)[0]) for each in declared}
    pins = (ROOT / "constraints.txt").read_text().splitlines()
    assert set(names) <= known
    assert set(names) <= {normalised(each.partition("==")[0]) for each in pins}
    assert not needed(names) & {"ray", "optuna", "gensim"}


def test_the_header_tells_to_build_this_file_and_to_publish_on_loopback() -> None:
    build, run = header("docker build"), header("docker run")
    assert build[build.index("--file") + 1] == "deploy/serve.Dockerfile"
    assert build[build.index("--tag") + 1] == run[-1]
    assert run[run.index("--publish") + 1] == f"127.0.0.1:{PORT}:{PORT}"
    assert arguments("EXPOSE") == [str(PORT)]


def served(model: Path, port: int) -> list[str]:
    """Return the command of the image's server, for a model and a port of this machine.

    Dependencies of the project that the image does not have can't be imported in it.
    """
    command = json.loads(arguments("CMD")[0])
    assert command[:3] == ["python", "-m", "sweeps.serve"]
    given = dict(zip(command[3::2], command[4::2], strict=True))
    assert given == {"--model": "/model", "--host": "0.0.0.0", "--port": str(PORT)}
    own = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    project = {normalised(re.match(r"[\w.-]+", each)[0]) for each in own}
    absent = project - needed(pip_installs()[0][0])
    modules = importlib.metadata.packages_distributions().items()
    blocked = [module for module, of in modules if {normalised(each) for each in of} & absent]
    assert {"ray", "optuna", "gensim"} <= set(blocked)
    arguments_ = ["sweeps.serve", "--model", str(model), "--host", "127.0.0.1", "--port", str(port)]
    code = (
        f"import runpy, sys; sys.modules.update(dict.fromkeys({blocked!r})); "
        f"sys.argv = {arguments_!r}; "
        "runpy.run_module('sweeps.serve', run_name='__main__', alter_sys=True)"
    )
    return [sys.executable, "-c", code]


@pytest.fixture
def model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """What the header's first command writes, of a model with n-grams that spaCy tokenizes."""
    bundle = toy_bundle(["A great film.", "A dull film."], ngrams=2)
    folder = bundle.save(tmp_path / "champion")
    words = header("python -m sentiment.export")[3:]
    assert words[0] == "models:/sentiment@champion"
    assert words[-2:] == ["--output", MODEL]
    export.main([str(folder), *words[1:-1], str(tmp_path / "model")])
    return tmp_path / "model"


@pytest.fixture
def port(model: Path, tmp_path: Path) -> Iterator[int]:
    """The port of the image's server, while it runs."""
    free, log = free_port(), tmp_path / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(served(model, free), stdout=output, stderr=output, cwd=tmp_path)
    try:
        wait_until(lambda: answers(free), process, log)
        yield free
    finally:
        process.terminate()
        assert process.wait(30) == 0, log.read_text()


def healthy(port: int) -> bool:
    """Run the image's health check against a port of this machine."""
    options, _, command = arguments("HEALTHCHECK")[0].partition(" CMD ")
    assert {word.partition("=")[0] for word in options.split()} == {
        *("--interval", "--retries", "--start-period", "--timeout")
    }
    python, flag, code = json.loads(command)
    assert (python, flag) == ("python", "-c")
    assert f"127.0.0.1:{PORT}/health" in code
    code = code.replace(f":{PORT}/", f":{port}/")
    return subprocess.run([sys.executable, flag, code], capture_output=True).returncode == 0


def test_its_server_starts_with_its_packages_alone_and_is_healthy(port: int) -> None:
    assert healthy(port)
    assert not healthy(free_port())
