from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sweeps.registry.alias_history import AliasChange, champions


@given(st.lists(st.sampled_from([1, 2, 3, None]), max_size=12))
def test_rollbacks_undo_promotions(steps: list[int | None]) -> None:
    history: list[AliasChange] = []
    expected: list[int] = []
    for step in steps:
        present = expected[-1] if expected else None
        if step is None:
            if len(expected) < 2:
                continue
            expected.pop()
            history.append(AliasChange("rollback", "", present, expected[-1], "", {}))
        elif step != present:
            expected.append(step)
            history.append(AliasChange("promote", "", present, step, "", {}))
    assert champions(history) == expected
