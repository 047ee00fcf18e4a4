"""What people and programs may feed the model side: refused in a line, or read as it is meant."""

from __future__ import annotations

import gzip
import io
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from sentiment.config import SECTIONS, parse_assignments
from sentiment.data.datasets import DataConfig, load_dataset
from sentiment.data.tables import read_table
from sentiment.errors import InputError
from sentiment.inference.bundle import FILES, Bundle

QUIET = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)

EVIL_TEXTS = {
    "empty": "",
    "white space": " \t\n\u2028\u00a0",
    "5 MB of words": "great film " * 450_000,
    "5 MB without a space": "!" * 5_000_000,
    "emoji": "\N{CLAPPER BOARD}" * 1000 + "\u200d\ufe0f",
    "control characters": "".join(map(chr, range(32))) + "\x7f\x9b31m",
    "lone surrogates": "\ud800 great \udfff\ud800",
    "right to left": "\u202e\u0645\u0631\u062d\u0628\u0627 \u05e9\u05dc\u05d5\u05dd\u202c",
    "NUL": "great\0film\0",
    "combining": "a" + "\u0301" * 10_000,
    "markup": "<br />" * 10_000 + "<br",
}


@pytest.fixture(scope="module")
def bundle(make_bundle: Callable[[int], Path]) -> Path:
    return make_bundle(0)


@pytest.mark.parametrize("text", EVIL_TEXTS.values(), ids=EVIL_TEXTS)
def test_any_text_gets_an_answer_and_the_same_in_any_batch(bundle: Path, text: str) -> None:
    model = Bundle.load(bundle)
    alone = model.predict([text])
    assert alone.shape == (1, 2)
    assert alone.sum() == pytest.approx(1, abs=1e-6)
    assert model.predict(["this film is bad", text])[1] == pytest.approx(alone[0], abs=1e-5)


@QUIET
@given(texts=st.lists(st.text(st.characters(), max_size=80), min_size=1, max_size=4))
def test_random_texts(bundle: Path, texts: list[str]) -> None:
    probabilities = Bundle.load(bundle).predict(texts)
    assert np.isfinite(probabilities).all()


def loaded(folder: Path) -> np.ndarray | None:
    """Return what a bundle says of two texts; None where it is refused in a line or two."""
    try:
        return Bundle.load(folder).predict(["this film is great", ""])
    except InputError as error:
        assert 1 <= len(str(error).splitlines()) <= 2
        return None


BITS = [b"\0" * 8, b"{", b"[", b'"', b"NaN", b"-1", b"1e999", b"9" * 5000, b"null", b'"\\ud800"']


@QUIET
@given(file=st.sampled_from(FILES), seed=st.integers(0, 2**32))
def test_damaged_bundles(
    bundle: Path, file: str, seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("damaged") / "model"
    shutil.copytree(bundle, folder)
    (folder / file).write_bytes(_damaged((folder / file).read_bytes(), random.Random(seed), BITS))
    probabilities = loaded(folder)
    assert probabilities is None or np.isfinite(probabilities).all()


def _damaged(data: bytes, draw: random.Random, bits: list[bytes]) -> bytes:
    """Change, cut, insert or remove a few bytes."""
    changed = bytearray(data)
    for _ in range(draw.randint(1, 3)):
        place = draw.randrange(len(changed) + 1)
        match draw.randrange(4):
            case 0:
                changed[place : place + 1] = bytes([draw.randrange(256)])
            case 1:
                changed = changed[:place] or bytearray(b"x")
            case 2:
                changed[place:place] = draw.choice(bits)
            case _:
                del changed[place : place + draw.randrange(40)]
    return bytes(changed)


EVIL_VALUES = (None, -1, 0, 10**6, 10**12, 10**30, 1e308, "", "x", "../..", [], {}, "\ud800")


@pytest.mark.parametrize("section", SECTIONS)
def test_settings_of_a_bundle_that_were_tampered_with(
    bundle: Path, section: str, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(bundle, folder)
    described = json.loads((bundle / "config.json").read_text())
    for name in described["settings"][section]:
        for value in EVIL_VALUES:
            changed = json.loads(json.dumps(described))
            changed["settings"][section][name] = value
            (folder / "config.json").write_text(json.dumps(changed))
            probabilities = loaded(folder)
            assert probabilities is None or np.isfinite(probabilities).all(), (name, value)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(
    bundle: Path, value: float, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(bundle, folder)
    weights = load_file(folder / "weights.safetensors")
    weights["head.weight"][0, 0] = value
    save_file(weights, folder / "weights.safetensors")
    with pytest.raises(InputError, match=r"head\.weight holds something else than finite numbers"):
        Bundle.load(folder)


def test_settings_that_ask_for_any_amount_of_memory(bundle: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(bundle, folder)
    described = json.loads((folder / "config.json").read_text())
    described["settings"]["model"]["hidden_dim"] = 2**16  # 68 GB, were it made
    (folder / "config.json").write_text(json.dumps(described))
    with pytest.raises(InputError, match="does not fit"):
        Bundle.load(folder)


ROWS = [(f"this is text {i}, a great film", "pos" if i % 2 else "neg") for i in range(30)]


def _table(kind: str) -> bytes:
    if kind.endswith(".gz"):
        return gzip.compress(_table(kind.removesuffix(".gz")))
    if kind == ".json":
        return json.dumps([{"text": t, "label": b} for t, b in ROWS]).encode()
    if kind == ".jsonl":
        return "".join(json.dumps({"text": t, "label": b}) + "\n" for t, b in ROWS).encode()
    if kind == ".parquet":
        buffer = io.BytesIO()
        texts, labels = zip(*ROWS, strict=True)
        pq.write_table(pa.table({"text": texts, "label": labels}), buffer)
        return buffer.getvalue()
    separator = {".csv": ",", ".tsv": "\t", ".txt": ";"}[kind]
    lines = [f'"{text}"{separator}{label}\n' for text, label in ROWS]
    table = f"text{separator}label\n{''.join(lines)}"
    return table.encode("utf-16" if kind == ".txt" else "utf-8")


KINDS = [".csv", ".tsv", ".txt", ".json", ".jsonl", ".parquet", ".csv.gz", ".jsonl.gz"]
OPTIONS: list[dict[str, Any]] = [
    {},
    {"skip_incomplete": True},
    {"quoting": "none", "skip_incomplete": True},
    {"escape": "\\", "no_header": True, "text_column": "1", "label_column": "2"},
    {"encoding": "latin-1", "label_map": "pos=1,neg=0"},
    {"delimiter": ";"},
]
TABLE_BITS = [
    b"\0",
    b'"',
    b'""',
    b"\r",
    b"\n",
    b"\xff",
    b"\xed\xa0\x80",
    b"\xef\xbb\xbf",
    b"{",
    b",",
    b";",
    b"\\",
    b"\xff\xfe",
    b"nan",
    b".0",
]
TABLE_BITS += [b"\\ud800", b"NaN", b"9" * 5000, b"\xe2\x80\xa8", "\u202e\N{CLAPPER BOARD}".encode()]


@QUIET
@given(kind=st.sampled_from(KINDS), options=st.sampled_from(OPTIONS), seed=st.integers(0, 2**32))
def test_damaged_tables(
    kind: str, options: dict[str, Any], seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("table") / f"reviews{kind}"
    path.write_bytes(_damaged(_table(kind), random.Random(seed), TABLE_BITS))
    try:
        table = read_table(DataConfig(data=str(path), **options))
    except InputError as error:
        assert 1 <= len(str(error).splitlines()) <= 2
        assert path.name in str(error) or str(error).startswith("--")
    else:
        assert len(table.texts) == len(table.labels) > 0
        assert all(text.strip() for text in table.texts)
        assert all(table.labels)
        account = table.account
        assert account.read == account.kept + account.left_out.total()
        assert account.kept == len(table.texts)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("deep.jsonl", b'{"text": ' + b"[" * 100_000 + b"]" * 100_000 + b', "label": 1}'),
        ("long.jsonl", b'{"text": "a", "label": ' + b"9" * 6000 + b"}"),
        ("infinite.jsonl", b'{"text": "a", "label": NaN}'),
        ("quotes.csv", b'text,label\n"abc\n' * 50_000),
        ("utf16.csv", "text,label\na,b\n".encode("utf-16-le")),
        ("bomb.json", b'[{"text": "a", "label": ' + b"[" * 100_000),
        ("swallowed.csv", b'text,label\na,0\n"b,1\nc,0\nd",1\n'),
        ("torn.csv.gz", gzip.compress(b"text,label\n" + b"a,0\n" * 500, mtime=0)[:-9]),
        ("half.jsonl", b'{"text": "\\ud800", "label": 1}\n{"text": "a", "label": 0}\n'),
        ("packed.csv", b"\x1f\x8b" + b"0" * 100),
        ("empty.csv", b""),
        ("hollow.parquet", b"PAR1" + b"\0" * 100 + b"PAR1"),
        ("ids.csv", b"text,label\n" + b"".join(b"t%d,%d\n" % (i, i) for i in range(20_000))),
        ("same.csv", b"text,label\n" + b"a,pos\na,neg\n" * 20),
    ],
)
def test_tables_made_by_hand(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=name):
        load_dataset(DataConfig(data=str(tmp_path / name)), lambda line: None)


@pytest.mark.parametrize(
    "assignment",
    [
        "=",
        "hidden_dim",
        "hidden_dim=",
        "hidden_dim=true",
        "hidden_dim=" + "9" * 5000,
        "hidden_dim=1e400",
        "hidden_dim=99999999999",
        "seed=" + "9" * 30,
        "cell=" + "[" * 20_000,
        "cell=" + "{a: " * 2_000,
        "cell=&a [*a]",
        "cell=\0",
        "cell=\ud800",
        "cell=!!python/object/apply:os.system [false]",
        "learning_rate=.nan",
        " cell=gru",
    ],
)
def test_assignments_made_by_hand(assignment: str) -> None:
    with pytest.raises(InputError) as told:
        parse_assignments([assignment])
    assert len(str(told.value).splitlines()) == 1


@QUIET
@given(name=st.sampled_from(["cell", "hidden_dim", "dropout", "embedding"]), text=st.text())
def test_random_assignments(name: str, text: str) -> None:
    try:
        values = parse_assignments([f"{name}={text}"])
    except InputError:
        return
    assert list(values) == [name]
