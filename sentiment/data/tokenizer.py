"""From text to tokens, by a model's settings. There is no other way in the project.

How each tokenizer splits is in `token_rules`.
"""

from __future__ import annotations

from sentiment.config import TextConfig, unknown_name
from sentiment.data.token_rules import LanguageError, Splitter, text_splitter
from sentiment.errors import InputError

LANGUAGE_PACKAGES = {
    "ja": ("sudachipy", "sudachidict_core"),
    "ko": ("natto-py",),  # and mecab-ko with its dictionary, which are no Python packages
    "th": ("pythainlp",),
    "vi": ("pyvi",),
}
"""What spaCy's tokenizers of these languages need besides spaCy."""

Tokenizer = Splitter


def tokenizer(config: TextConfig) -> Tokenizer:
    """Return the function from a text to its tokens that the settings describe.

    Raises:
        InputError: spaCy has no such language, or lacks a package that the language needs.
    """
    language = config.language
    try:
        return text_splitter(config.tokenizer, language, config.lowercase, config.strip_markup)
    except LanguageError as error:
        if error.known:
            problem = unknown_name("language of the spacy tokenizer", language, error.known)
            raise InputError(f"language={language}: {problem}") from None
        packages = " ".join(LANGUAGE_PACKAGES.get(language, ()))
        reason = " ".join(str(error).split())
        install = f"pip install {packages} (" if packages else "("
        raise InputError(
            f"language={language}: it needs packages of its own: {install}{reason:.300})"
        ) from error
