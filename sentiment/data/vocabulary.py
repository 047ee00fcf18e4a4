"""The words that a model knows, by torchtext's rules, from what is trained on alone."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

UNK, PAD = "<unk>", "<pad>"
SPECIALS = (UNK, PAD)
UNK_ID, PAD_ID = 0, 1


@dataclass(frozen=True)
class Vocabulary:
    """Words by id: `<unk>` is 0, `<pad>` is 1, the commonest word is 2."""

    itos: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.itos[: len(SPECIALS)] != SPECIALS:
            raise ValueError(f"a vocabulary starts with {', '.join(SPECIALS)}")

    def __len__(self) -> int:
        return len(self.itos)

    @property
    def size(self) -> int:
        """Number of words, the special ones not counted."""
        return len(self.itos) - len(SPECIALS)

    @cached_property
    def stoi(self) -> dict[str, int]:
        """Ids by word; a word that is not here has the id of `<unk>`."""
        return {word: index for index, word in enumerate(self.itos)}

    def encode(self, tokens: Iterable[str]) -> np.ndarray:
        """Return the ids of tokens as int64; no token at all is one `<unk>`.

        A text that happens to hold the token `<pad>` gets `<unk>` there: padding is no word.
        """
        known = self.stoi
        ids = [known.get(token, UNK_ID) for token in tokens]
        array = np.array(ids or [UNK_ID], dtype=np.int64)
        array[array == PAD_ID] = UNK_ID
        return array


def build_vocabulary(
    words: Sequence[str], counts: np.ndarray, size: int, min_count: int
) -> Vocabulary:
    """Choose the words of a model with torchtext's `Vocab`.

    Args:
        words: word types of a corpus, commonest first, ties alphabetical.
        counts: int64 (len(words),), how often each occurs in what they were counted in.
        size: keep at most that many words.
        min_count: keep only words seen at least that often.

    Raises:
        ValueError: `words` is not in torchtext's order, so that ids would not be ranks + 2.
    """
    from torchtext.vocab import Vocab

    counter = Counter(dict(zip(words, counts.tolist(), strict=True)))
    vocabulary = Vocab(counter, max_size=size, min_freq=min_count, specials=list(SPECIALS))
    itos = tuple(vocabulary.itos)
    if itos[len(SPECIALS) :] != tuple(words[: len(itos) - len(SPECIALS)]):
        raise ValueError("the words are not sorted by count and then alphabetically")
    return Vocabulary(itos)


def write_words(path: Path, words: Sequence[str]) -> None:
    """Write words to a JSON file; lone surrogates survive, as code points of their own."""
    text = json.dumps(list(words), ensure_ascii=False)
    path.write_bytes(text.encode("utf-8", "surrogatepass"))


def read_words(path: Path) -> tuple[str, ...]:
    """Read what `write_words` wrote."""
    return tuple(json.loads(path.read_bytes().decode("utf-8", "surrogatepass")))
