"""All settings of one model: frozen, validated, with one fingerprint.

Every hyperparameter is one field here, with its help. The flags of `--set`, the keys that a
space file or a recipe may use, the parameters in MLflow and the table in the docs all derive
from these fields, so their names are unique across the sections.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from sentiment.errors import InputError
from sentiment.io.yaml_numbers import load_yaml

Objective = Literal["valid/accuracy", "valid/loss", "valid/f1"]
Precision = Literal["auto", "float32", "bfloat16"]

STARTS_OF_PRETRAINING = ("word2vec", "fasttext", "random")
"""Values of `embedding` that a pretraining can start from: their vectors have `embedding_dim`."""

# What arrays of 32 bits can count, and layers that no machine of today holds.
_LARGEST = 2**31 - 1
_WIDEST = 2**16


class Section(BaseModel):
    """Base of the sections: immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class TextConfig(Section):
    """How a text becomes numbers; the same in training, evaluation and serving."""

    tokenizer: Literal["spacy", "whitespace", "basic"] = Field(
        "spacy",
        description="spacy: spaCy's rules for the language; whitespace: split at white space; "
        "basic: lower-case, punctuation stripped, split at white space",
    )
    language: str = Field("en", description="language of the spacy tokenizer, e.g. en, de, fr")
    lowercase: bool = Field(True, description="lower-case the text")
    strip_markup: bool = Field(True, description="replace <br /> by a space")
    vocabulary_size: int = Field(
        25_000,
        ge=1,
        le=_LARGEST,
        description="keep at most that many of the commonest words of train",
    )
    min_count: int = Field(
        1, ge=1, le=_LARGEST, description="keep words seen at least that often in train"
    )
    max_length: int = Field(400, ge=0, le=_LARGEST, description="tokens kept of a text; 0: all")
    truncation: Literal["head", "tail", "head_tail"] = Field(
        "head", description="which tokens of a longer text are kept; head_tail: half of each"
    )


class ModelConfig(Section):
    """The classifier: embedding, recurrent layers, pooling, linear head."""

    embedding: str = Field(
        "glove",
        description="random; glove (packaged 6B 50d); word2vec or fasttext (trained on the "
        "train texts); a torchtext name such as glove.6B.100d; or a file of vectors",
        min_length=1,
    )
    embedding_dim: int = Field(
        100,
        ge=1,
        le=_WIDEST,
        description="size of random, word2vec and fasttext vectors; the others bring their own",
    )
    lower_case_backup: bool = Field(
        True, description="give a word without a vector that of its lower-case form"
    )
    freeze_embedding: bool = Field(False, description="keep the vectors as they are")
    init_std: float = Field(
        0.1, ge=0, description="standard deviation of the vectors drawn for words without one"
    )
    cell: Literal["rnn", "gru", "lstm"] = Field("lstm", description="recurrent cell")
    layers: int = Field(1, ge=1, le=4, description="recurrent layers")
    bidirectional: bool = Field(True, description="read the text in both directions")
    hidden_dim: int = Field(128, ge=1, le=_WIDEST, description="hidden units a direction")
    dropout: float = Field(
        0.4, ge=0, lt=1, description="dropout on embeddings, between layers and before the head"
    )
    embedding_dropout: float | None = Field(
        None, ge=0, lt=1, description="dropout on embeddings, if it differs"
    )
    layer_dropout: float | None = Field(
        None, ge=0, lt=1, description="dropout between layers, if it differs"
    )
    head_dropout: float | None = Field(
        None, ge=0, lt=1, description="dropout before the head, if it differs"
    )
    variational_dropout: bool = Field(
        True, description="one dropout mask on embeddings for all steps of a text"
    )
    pooling: Literal["last", "max", "mean"] = Field(
        "max", description="what the head sees of a text's outputs"
    )
    packing: Literal["packed", "padded"] = Field(
        "packed", description="padded: the RNN runs over the batch's padding too"
    )
    loss: Literal["auto", "bce", "cross_entropy"] = Field(
        "auto", description="bce: one logit (two classes only); auto: bce for two classes"
    )
    ngrams: int = Field(
        0,
        ge=0,
        le=5,
        description="words of the longest n-grams that a linear branch beside the RNN weighs; "
        "0: no branch",
    )
    ngram_min_count: int = Field(
        0,
        ge=0,
        le=_LARGEST,
        description="texts of train that must hold an n-gram; 0: 1 with fewer than 10,000 texts, "
        "else 2",
    )
    ngram_weighting: Literal["naive_bayes", "none"] = Field(
        "naive_bayes",
        description="scale of the n-grams: their naive-Bayes log-count ratios, or alike",
    )

    def is_binary(self, classes: int) -> bool:
        """Whether one logit tells two classes apart; otherwise there is a logit a class."""
        return self.loss == "bce" or (self.loss == "auto" and classes == 2)


class TrainingConfig(Section):
    """The optimisation of one model."""

    epochs: float = Field(3.0, gt=0, description="passes over the train split; may be a fraction")
    batch_size: int = Field(64, ge=1, le=_LARGEST, description="texts a step")
    optimizer: Literal["sgd", "adam", "adamw", "rmsprop"] = Field("adam", description="optimizer")
    learning_rate: float = Field(2e-3, gt=0, description="learning rate (the schedule's peak)")
    momentum: float = Field(0.0, ge=0, lt=1, description="momentum of sgd and rmsprop")
    weight_decay: float = Field(0.0, ge=0, description="weight decay")
    schedule: Literal["constant", "one_cycle", "cosine"] = Field(
        "one_cycle", description="course of the learning rate over all steps"
    )
    gradient_clip: float = Field(
        1.0, ge=0, description="largest norm of the gradient; 0: not clipped"
    )
    adversarial_epsilon: float = Field(
        0.0,
        ge=0,
        description="train also on each text's word vectors moved by this share of their norm in "
        "the direction that raises its loss; 0: not; doubles a step",
    )
    virtual_adversarial_weight: float = Field(
        0.0,
        ge=0,
        description="weight of the virtual adversarial loss: a text's prediction shall stay where "
        "its word vectors are moved in the direction that changes it most; of as many texts as a "
        "step has labelled ones, from train and those without labels; triples a step",
    )
    virtual_adversarial_epsilon: float = Field(
        0.02,
        gt=0,
        description="how far they are moved, as a share of their norm",
    )
    entropy_weight: float = Field(
        0.0,
        ge=0,
        description="weight of the entropy of predictions of the same texts",
    )
    class_weights: Literal["none", "balanced"] = Field(
        "none", description="balanced: weigh classes by the inverse of their frequency"
    )
    evaluations_per_epoch: float = Field(
        4, gt=0, description="evaluations on the validation split in each epoch"
    )
    early_evaluations: int = Field(
        0,
        ge=0,
        le=20,
        description="more of them before the first, each at half the way to the next",
    )
    max_steps: int = Field(
        0, ge=0, le=_LARGEST, description="end after that many steps; 0: no limit"
    )
    pretraining: Literal["none", "lm"] = Field(
        "none",
        description="lm: embedding and recurrent layers start from language models trained on the "
        "texts of train and, where there are some, those without labels; with both directions "
        "each has half of embedding_dim",
    )
    pretraining_epochs: float = Field(
        3.0, gt=0, description="passes of the language models over these texts"
    )
    objective: Objective = Field("valid/accuracy", description="what the best checkpoint goes by")
    precision: Precision = Field(
        "auto",
        description="arithmetic of the recurrent layers; auto: the faster of the two (an LSTM on a "
        "CPU without AVX-512 stays in float32)",
    )
    seed: int = Field(1234, ge=0, le=2**32 - 1, description="seed of everything random")

    @model_validator(mode="after")
    def _momentum_has_a_reader(self) -> Self:
        if self.momentum and self.optimizer in ("adam", "adamw"):
            raise ValueError(f"momentum is for sgd and rmsprop, not {self.optimizer}")
        return self


SECTIONS: dict[str, type[Section]] = {
    "text": TextConfig,
    "model": ModelConfig,
    "training": TrainingConfig,
}


class Config(Section):
    """Settings of one model: how it reads text, what it is, how it is trained."""

    text: TextConfig = TextConfig()
    model: ModelConfig = ModelConfig()
    training: TrainingConfig = TrainingConfig()

    @model_validator(mode="after")
    def _pretraining_has_vectors_to_start_from(self) -> Self:
        if self.training.pretraining == "none":
            return self
        if self.model.embedding not in STARTS_OF_PRETRAINING:
            raise ValueError(
                f"pretraining={self.training.pretraining} starts from vectors of embedding_dim: "
                f"set embedding={', '.join(STARTS_OF_PRETRAINING[:-1])} or "
                f"{STARTS_OF_PRETRAINING[-1]}, not {self.model.embedding}"
            )
        if self.model.bidirectional and self.model.embedding_dim % 2:
            raise ValueError(
                f"pretraining={self.training.pretraining} gives each direction half of "
                f"embedding_dim, which {self.model.embedding_dim} has not: take an even number"
            )
        return self

    @classmethod
    def from_flat(cls, values: Mapping[str, Any]) -> Config:
        """Build a configuration from hyperparameters under their own names.

        Raises:
            InputError: a name is unknown or a value does not fit its field.
        """
        unknown = [name for name in values if name not in SECTION_OF]
        if unknown:
            raise InputError(unknown_name("hyperparameter", unknown[0], SECTION_OF))
        nested: dict[str, dict[str, Any]] = {section: {} for section in SECTIONS}
        for name, value in values.items():
            nested[SECTION_OF[name]][name] = value
        try:
            return cls.model_validate(nested)
        except ValidationError as error:
            first = error.errors()[0]
            name = str(first["loc"][-1]) if first["loc"] else "settings"
            reason = first["msg"].removeprefix("Value error, ")
            shown = f"{name}={first['input']}: " if name in SECTION_OF else ""
            raise InputError(f"{shown}{reason[:1].lower()}{reason[1:]}") from None

    def flat(self) -> dict[str, Any]:
        """Return every hyperparameter under its own name."""
        return {
            name: value
            for section in SECTIONS
            for name, value in getattr(self, section).model_dump().items()
        }

    def replace(self, **changes: Any) -> Config:
        """Return a copy with hyperparameters changed, validated anew."""
        return Config.from_flat({**self.flat(), **changes})

    @property
    def fingerprint(self) -> str:
        """Hexadecimal sha256 over all settings."""
        return fingerprint(self.model_dump())


SECTION_OF: dict[str, str] = {
    name: section for section, kind in SECTIONS.items() for name in kind.model_fields
}


def fields() -> dict[str, Any]:
    """Return pydantic's field of every hyperparameter by its name."""
    return {name: SECTIONS[section].model_fields[name] for name, section in SECTION_OF.items()}


def fingerprint(value: Any) -> str:
    """Return the hexadecimal sha256 of a JSON-like value, whatever the order of its keys."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def unknown_name(what: str, name: str, known: Iterable[str]) -> str:
    """Word the error for a name that is not among the known ones, with the likeliest meant."""
    return f"unknown {what} {name!r}: {likeliest(name, known)}"


def likeliest(name: str, known: Iterable[str]) -> str:
    """Word which of the known names was meant; all of them if none is like it."""
    names = list(known)
    # Case is a common slip, and counts as a difference in every letter.
    by_lower = {each.lower(): each for each in names}
    close = get_close_matches(name.lower(), by_lower, n=1)
    return f"did you mean {by_lower[close[0]]}?" if close else f"there are: {', '.join(names)}"


def parse_assignments(assignments: Iterable[str]) -> dict[str, Any]:
    """Read `key=value` pairs of the command line; values are YAML scalars.

    Raises:
        InputError: a pair has no `=`, an unknown key, or a value that is not a scalar.
    """
    values: dict[str, Any] = {}
    for assignment in assignments:
        name, separator, text = assignment.partition("=")
        if not separator or not name:
            raise InputError(f"--set {assignment}: write it as key=value, such as dropout=0.3")
        if name not in SECTION_OF:
            problem = unknown_name("hyperparameter", name, SECTION_OF)
            raise InputError(f"--set {assignment}: {problem}")
        try:
            value = load_yaml(text)
        except (yaml.YAMLError, ValueError, RecursionError):
            raise InputError(
                f"--set {assignment:.200}: the value can't be read; put it in quotes"
            ) from None
        # pydantic would take it for 1 or 0.
        if isinstance(value, bool) and fields()[name].annotation in (int, float):
            raise InputError(f"--set {assignment}: give a number")
        values[name] = value
    try:
        Config.from_flat(values)
    except InputError as error:
        # Two settings that exclude one another have no value to show.
        of_one = re.match(r"\w+=", str(error)) is not None
        raise InputError(f"--set{' ' if of_one else ': '}{error}") from None
    return values


def describe(config: Config) -> str:
    """Return what a model is, in a few words: `bilstm-2×128 word2vec adam`.

    With pretraining its name takes the place of the vectors that it started from.
    """
    model, pretraining = config.model, config.training.pretraining
    direction = "bi" if model.bidirectional else ""
    embedding = Path(model.embedding).name if pretraining == "none" else pretraining
    return (
        f"{direction}{model.cell}-{model.layers}×{model.hidden_dim} {embedding} "
        f"{config.training.optimizer}"
    )
