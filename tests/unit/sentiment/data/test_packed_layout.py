"""The packed order against torch's own packing."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.utils.rnn import pack_padded_sequence

from sentiment.data.packed_layout import PackedLayout

LENGTHS = st.lists(st.integers(1, 12), min_size=1, max_size=8).map(
    lambda lengths: torch.tensor(sorted(lengths, reverse=True))
)


@given(LENGTHS)
def test_rows_stand_as_torch_packs_them(lengths):
    layout = PackedLayout.of(lengths)
    cells = torch.arange(layout.steps * layout.sequences).view(layout.steps, layout.sequences)
    packed = pack_padded_sequence(cells, lengths)
    assert layout.padded_index.tolist() == packed.data.tolist()
    assert layout.sizes == packed.batch_sizes.tolist()
    assert layout.rows == len(packed.data)
    assert torch.equal(layout.row(layout.step, layout.sequence), torch.arange(layout.rows))


@given(LENGTHS)
def test_reversed_index_reverses_each_sequence_and_is_its_own_inverse(lengths):
    layout = PackedLayout.of(lengths)
    assert torch.equal(layout.reversed_index[layout.reversed_index], torch.arange(layout.rows))
    for sequence, length in enumerate(lengths.tolist()):
        own = layout.sequence == sequence
        assert layout.step[layout.reversed_index][own].tolist() == list(range(length))[::-1]
        assert (layout.sequence[layout.reversed_index][own] == sequence).all()


@given(LENGTHS)
def test_a_padded_array_holds_every_row_in_its_cell(lengths):
    layout = PackedLayout.of(lengths)
    assert torch.equal(layout.padded[layout.padded_index], torch.arange(layout.rows))
    padded = layout.padded.view(layout.steps, layout.sequences)
    for sequence, length in enumerate(lengths.tolist()):
        assert (padded[length:, sequence] == layout.last[sequence]).all()
        assert layout.step[layout.last[sequence]] == length - 1


def test_a_padded_layout_has_every_cell():
    layout = PackedLayout.of(torch.tensor([3, 1]))
    assert not layout.rectangular
    padded = layout.to_padded()
    assert padded.rectangular
    assert padded.padded_index.tolist() == list(range(6))
