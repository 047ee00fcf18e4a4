"""YAML 1.1 whose floats may lack the dot and the exponent's sign: `1e-3` is a number.

YAML 1.1, which PyYAML follows, reads `1e-3` as text. Everything here that people write numbers
into (space files, recipes, `--set`, parameters of runs) is read by this loader.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

_FLOAT_TAG = "tag:yaml.org,2002:float"
_EXPONENT_FLOAT = re.compile(r"^[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)[eE][-+]?[0-9]+$")
_FIRST_CHARACTERS = list("-+.0123456789")


class NumberLoader(yaml.SafeLoader):
    """Safe loader that reads `1e-3` as a float."""


class NumberDumper(yaml.SafeDumper):
    """Safe dumper for `NumberLoader`: a text that looks like such a number goes in quotes."""


NumberLoader.add_implicit_resolver(_FLOAT_TAG, _EXPONENT_FLOAT, _FIRST_CHARACTERS)
NumberDumper.add_implicit_resolver(_FLOAT_TAG, _EXPONENT_FLOAT, _FIRST_CHARACTERS)


def load_yaml(text: str) -> Any:
    """Parse a YAML document.

    Raises:
        yaml.YAMLError: it is broken, or asks for anything but plain values.
        ValueError: a number or a date in it is out of range.
        RecursionError: it is nested too deeply.
    """
    return yaml.load(text, NumberLoader)
