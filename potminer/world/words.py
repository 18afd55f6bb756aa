"""A key as twenty-four English words (BIP-39), to be written on paper."""

from __future__ import annotations

import difflib
import unicodedata

from mnemonic import Mnemonic

from potminer.base.errors import UsageError


def words_of(seed: bytes) -> str:
    """The 24 English words of BIP-39 whose entropy is *seed*: enough to make the key again anywhere."""
    return str(Mnemonic("english").to_mnemonic(seed))


def seed_of(words: str) -> bytes:
    """The seed that *words* say. UsageError names the word that is none, or says that the checksum is wrong."""
    said = unicodedata.normalize("NFKD", words).lower().split()[:100]
    book = Mnemonic("english")
    if len(said) != 24:
        raise UsageError(f"there are {len(said)} words where 24 are needed", "Write them with spaces between.")
    for at, word in enumerate(said, 1):
        if word not in book.wordlist:
            near = difflib.get_close_matches(word, book.wordlist, n=3)
            hint = f"Did you mean {' or '.join(near)}?" if near else "Look at your paper again."
            raise UsageError(f"word {at} is not in the list", hint)
    try:
        return bytes(book.to_entropy(said))
    except ValueError as error:
        raise UsageError("the words do not belong together: their checksum is wrong",
                         "A word is mistaken for another, or two are swapped.") from error  # fmt: skip


def listed() -> frozenset[str]:
    """Every word that a key may be written with."""
    return frozenset(Mnemonic("english").wordlist)
