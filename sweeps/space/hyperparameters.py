"""Hyperparameters as a space may use them: names, types, defaults, and checks of single values."""

from __future__ import annotations

import math
from functools import cache
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import TypeAdapter, ValidationError

from sentiment.config import SECTION_OF, fields, unknown_name
from sentiment.errors import InputError
from sweeps.space.dimensions import Scalar

BY_FLAG: dict[str, str] = {
    "epochs": "--max-epochs",
    "evaluations_per_epoch": "--max-epochs",
    "early_evaluations": "--max-epochs",
    "objective": "--objective",
    "precision": "--precision",
    "seed": "--seed",
    "ngrams": "--ngrams",
}
"""Settings that are the sweep's and not a trial's: a flag gives them, a space may not."""

NOT_RANGES: tuple[str, ...] = (
    "tokenizer",
    "language",
    "lowercase",
    "strip_markup",
    "embedding",
    "embedding_dim",
    "lower_case_backup",
)
"""Each value of these needs a corpus or vectors of its own, built before the first trial."""

PRETRAINING = "pretraining"
OF_PRETRAINING: tuple[str, ...] = (
    PRETRAINING,
    "pretraining_epochs",
    "cell",
    "layers",
    "bidirectional",
    "hidden_dim",
    "init_std",
    "vocabulary_size",
    "min_count",
    "max_length",
    "truncation",
)
"""With pretraining, each value of these too needs language models of its own."""


def check_name(name: Any, source: str) -> None:
    """Check that a name is that of a hyperparameter which may differ between trials.

    Raises:
        InputError: it is unknown, or all trials share it.
    """
    if name not in SECTION_OF:
        raise InputError(f"{source}: {unknown_name('hyperparameter', str(name), SECTION_OF)}")
    if name in BY_FLAG:
        raise InputError(f"{source}: {name}: all trials share it; give it with {BY_FLAG[name]}")


def to_typed(name: str, value: Any, where: str) -> Scalar:
    """Convert a value to its field's type; `where` opens the error message.

    Raises:
        InputError: it is not a finite scalar, or its field does not admit it.
    """
    if not isinstance(value, bool | int | float | str | NoneType):
        raise InputError(
            f"{where}: {value!r} is not a plain value: write a number, a word, true or false"
        )
    if isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"{where}: {value} is not a finite number: write one")
    # Pydantic would take `yes` for true and true for 1; in a space file either is a slip.
    if value is not None and isinstance(value, bool) != (bool in types_of(name)):
        hint = "write true or false" if bool in types_of(name) else "put a word in quotes"
        raise InputError(f"{where}: {value!r} does not fit this setting: {hint}")
    try:
        typed: Scalar = adapter_of(name).validate_python(value)
    except ValidationError as error:
        reason = error.errors()[0]["msg"]
        raise InputError(f"{where}: {value!r}: {reason[:1].lower()}{reason[1:]}") from None
    if isinstance(typed, float) and not math.isfinite(typed):
        raise InputError(f"{where}: {value} is not a finite number: write one")
    return typed


@cache
def adapter_of(name: str) -> TypeAdapter[Any]:
    """Return pydantic's validator of one field."""
    found = fields()[name]
    checked: Any = Annotated[found.annotation, found]
    return TypeAdapter(checked)


@cache
def types_of(name: str) -> tuple[type, ...]:
    """Return the types that a field admits; a Literal's are those of its values."""
    annotation = fields()[name].annotation
    members = (annotation,) if get_origin(annotation) in (None, Literal) else get_args(annotation)
    return tuple(
        kind
        for member in members
        for kind in (
            (type(value) for value in get_args(member))
            if get_origin(member) is Literal
            else (member,)
        )
    )


def default_of(name: str) -> Scalar:
    """Return the value of a hyperparameter that is neither searched nor fixed."""
    default: Scalar = fields()[name].default
    return default
