"""Numbers that YAML 1.1 takes for text."""

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from sentiment.io.yaml_numbers import NumberDumper, load_yaml


@pytest.mark.parametrize("text", ["1e-3", "1E-3", "+1e-3", ".1e-2", "1.e-3", "1.0e-3", "0.001"])
def test_all_ways_to_write_a_float_are_read_as_one(text):
    value = load_yaml(f"[{text}]")[0]
    assert (value, type(value)) == (0.001, float)


@pytest.mark.parametrize("text", ["'1e-3'", '"1e-3"', "e3", "1e", "1e-3x"])
def test_other_texts_stay_text(text):
    assert isinstance(load_yaml(text), str)


@given(st.one_of(st.text("+-.0123456789eE", min_size=1, max_size=6), st.floats(allow_nan=False)))
def test_what_is_written_is_read(value):
    again = load_yaml(yaml.dump([value], Dumper=NumberDumper))[0]
    assert (again, type(again)) == (value, type(value))


def test_only_plain_values_are_read():
    with pytest.raises(yaml.YAMLError):
        load_yaml("!!python/object:os.system {}")
