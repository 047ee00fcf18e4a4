"""What is likely to be wrong with texts or with a model, in a line that says what to do about it.

Each warning is for figures that sound data hardly shows: false alarms would make users pass
over the others.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from sentiment.config import TextConfig
from sentiment.data.corpus import UNKNOWN, Corpus
from sentiment.listing import listed, short

SAMPLED_WORDS = 20_000
"""Words of a corpus that are looked at."""
SCRIPT_SHARE = 0.5
"""Share of the letters from which a corpus counts as written in a script."""
RARE_SHARE = 0.25
"""Share of the labels that a model may never answer without a word."""
BALANCED = 1.5
"""Up to so many times its even share the commonest label makes no data set lopsided."""


@dataclass(frozen=True)
class Options:
    """How a command's user sets what a warning speaks of.

    Attributes:
        language: flag before a language's name.
        objective: flag that makes F1 what counts.
        longer: flag that makes a training longer.
    """

    language: str
    objective: str
    longer: str


LAUNCH = Options("--language ", "--objective valid/f1", "--max-epochs")
TRAIN = Options("--set language=", "--set objective=valid/f1", "--set epochs=N")


@dataclass(frozen=True)
class _Script:
    """A script that is written without blanks between words.

    Attributes:
        title: what to call texts in it.
        language: of spaCy, that splits it.
        longest: characters of a token, on average, above which the words were not split.
    """

    title: str
    language: str
    longest: float


_CHARACTERS = "zh"
"""spaCy's language that takes each character for a token, whatever the script."""
_SCRIPTS = {
    # By the first word of a character's name in Unicode. Words of Chinese and Japanese have some
    # two characters, of Thai and its neighbours four to five.
    "CJK": _Script("Chinese", "zh", 3.5),
    "HIRAGANA": _Script("Japanese", "ja", 3.5),
    "KATAKANA": _Script("Japanese", "ja", 3.5),
    "THAI": _Script("Thai", "th", 9.0),
    "LAO": _Script("Lao", _CHARACTERS, 9.0),
    "KHMER": _Script("Khmer", _CHARACTERS, 9.0),
    "MYANMAR": _Script("Burmese", _CHARACTERS, 9.0),
}
_KANA = 0.05
"""Share of kana from which texts with Chinese characters are Japanese."""


def tokenization_warning(corpus: Corpus, text: TextConfig, options: Options) -> str | None:
    """Return that texts without blanks between words were left in one piece; None if they weren't.

    Args:
        corpus: the encoded texts; its words, train and valid are looked at.
        text: how they were tokenised.
        options: of the command that is run.
    """
    words, counts = _sampled(corpus)
    script = _script_of(words, counts)
    if script is None:
        return None
    own = [(len(word), n) for word, n in zip(words, counts, strict=True) if _in_script(word)]
    length = sum(size * n for size, n in own) / sum(n for _, n in own)
    if length <= script.longest:
        return None
    train, valid = corpus.splits["train"], corpus.splits["valid"]
    a_text = len(train.tokens) / len(train)
    unknown = float((valid.tokens == UNKNOWN).mean())
    way = f"{options.language}{script.language}"
    if script.language == _CHARACTERS and script.title != "Chinese":
        way += ", which makes every character a token"
    if text.tokenizer != "spacy":
        way = f"--set tokenizer=spacy, with {way}"
    return (
        f"the texts of {corpus.dataset} are {script.title}, without blanks between words, and the "
        f"tokenizer ({_named(text)}) did not split them: {a_text:.1f} tokens a text, of "
        f"{length:.1f} characters each; {unknown:.0%} of the tokens of validation stand nowhere "
        f"in {' or '.join(corpus.word_splits)}; give {way}"
    )


def answer_warnings(
    confusion: np.ndarray,
    label_names: Sequence[str],
    *,
    model: str,
    objective: str,
    class_weights: str,
    options: Options,
    unsplit: bool = False,
) -> list[str]:
    """Return that a model answers a label or a few whatever the text is; nothing if it doesn't.

    Args:
        confusion: (C, C), of the validation split; rows are labels, columns predictions.
        label_names: C names.
        model: what to call it.
        objective: what it was chosen by.
        class_weights: how its loss weighs the classes.
        options: of the command that is run.
        unsplit: whether the texts were not split, which is what to mend first.
    """
    counts, predicted = confusion.sum(axis=1), confusion.sum(axis=0)
    total = int(counts.sum())
    accuracy = float(confusion.diagonal().sum() / total)
    commonest = int(counts.argmax())
    share = float(counts[commonest] / total)
    occurring = int(np.count_nonzero(counts))
    ways = []
    if unsplit:
        ways.append("what the warning of the tokenizer says")
    elif share * occurring > BALANCED:
        if objective != "valid/f1":
            ways.append(options.objective)
        if class_weights != "balanced":
            ways.append("--set class_weights=balanced")
    else:
        ways.append(f"a longer training ({options.longer})")
    hint = f"; try {' and '.join(ways)}" if ways else ""
    answered = np.flatnonzero(predicted)
    if len(answered) == 1:
        label = short(label_names[int(answered[0])])
        return [
            f"{model} answers {label!r} to every text of validation: its accuracy of "
            f"{accuracy:.4f} is that label's share{hint}"
        ]
    if accuracy <= share:
        return [
            f"{model} has accuracy {accuracy:.4f} on validation, no more than always answering "
            f"{short(label_names[commonest])!r} would have ({share:.4f}){hint}"
        ]
    never = [n for n, c, p in zip(label_names, counts, predicted, strict=True) if c and not p]
    if len(never) >= RARE_SHARE * occurring:
        return [
            f"{model} never answers {len(never)} of the {occurring} labels of validation: "
            f"{listed(never)}{hint}"
        ]
    return []


def _named(text: TextConfig) -> str:
    return f"spacy, language {text.language}" if text.tokenizer == "spacy" else text.tokenizer


def _sampled(corpus: Corpus) -> tuple[list[str], list[int]]:
    """Return words of all frequencies, with how often they occur."""
    step = max(1, len(corpus.words) // SAMPLED_WORDS)
    return list(corpus.words[::step]), corpus.counts[::step].tolist()


@lru_cache(maxsize=2**14)
def _script(character: str) -> str | None:
    """Return the script of a character: a key of `_SCRIPTS`, another word, None if no letter."""
    if not character.isalpha():
        return None
    return unicodedata.name(character, "").partition(" ")[0]


def _in_script(word: str) -> bool:
    return any(_script(character) in _SCRIPTS for character in word)


def _script_of(words: Sequence[str], counts: Sequence[int]) -> _Script | None:
    """Return the script without blanks that most letters are of; None if there is none."""
    letters: dict[str, int] = {}
    for word, count in zip(words, counts, strict=True):
        for character in word:
            script = _script(character)
            if script is not None:
                letters[script] = letters.get(script, 0) + count
    total = sum(letters.values())
    own = {script: letters[script] for script in _SCRIPTS if script in letters}
    if not own or sum(own.values()) < SCRIPT_SHARE * total:
        return None
    kana = sum(own.get(script, 0) for script in ("HIRAGANA", "KATAKANA"))
    if kana > _KANA * sum(own.values()):
        return _SCRIPTS["HIRAGANA"]
    return _SCRIPTS[max(own, key=own.__getitem__)]
