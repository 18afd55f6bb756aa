"""Text without what is nobody's business: names, addresses, keys, words and paths.

Where it is doubtful whether something is a secret, it is one: a report that says less is asked for again, one that
said too much cannot be taken back.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address

_ACCOUNT = re.compile(r"pot1[0-9a-z]{8,}")
_LOGIN = re.compile(r"(?<=://)[^\s/@]{1,400}@")
_NAMED = re.compile(
    r"(?i)\b(authorization|cookie|pass(?:word|phrase|wd)?|pwd|secret|seed|token|api[_-]?key|key|wallet)"
    r"(['\"]?\s*[=:]\s*)(?:'[^'\n]*'|\"[^\"\n]*\"|(?:bearer\s+)?[^\s'\",;]{6,})"
)
_BEARER = re.compile(r"(?i)\bbearer\s+[^\s'\",;]{6,}")
_UUID = re.compile(r"\b[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}\b")
_MAC = re.compile(r"\b[0-9a-fA-F]{2}(?:[:-][0-9a-fA-F]{2}){5}\b")
_KEY = re.compile(r"\b(?:0x)?[0-9a-fA-F]{32,}\b")
_MAIL = re.compile(r"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63})+")
_HOST = re.compile(r"(?<![\w.-])(?:[A-Za-z0-9-]{1,63}\.)+(?!py\b)[A-Za-z]{2,24}(?=:\d{2,5}\b)")
_RANDOM = re.compile(r"(?<![\w/+=<-])(?=[A-Za-z+/=]*\d)(?=[\d+/=]*[A-Za-z])[A-Za-z0-9+/=]{24,}(?![\w-])")
_RANDOM_URL = re.compile(r"(?<![\w-])(?=[\w-]*\d)(?=[\w-]*[a-z])(?=[\w-]*[A-Z])[\w-]{32,}(?![\w-])")
_UNIX_PATH = re.compile(r"(?<![\w/>])/[^\s/,;:'\")\]]+(?:/[^\s/,;:'\")\]]*)*")
_WINDOWS_PATH = re.compile(r"\b[A-Za-z]:\\[^\s,;'\")\]]*")
_WORD = re.compile(r"[0-9A-Fa-f.:%]{3,}")
_LETTERS = re.compile(r"[A-Za-z]+")
_BETWEEN = re.compile(r"[\s\d.,:;)'\"-]{1,12}")
_NAME_LETTERS = 2
_PLAIN = frozenset({"root", "rig", "localhost"})
"""Names that say nothing about anybody."""
WORDS_IN_A_ROW = 5
"""So many words of the list one after the other are a piece of somebody's key; prose has hardly ever four."""


@dataclass(frozen=True, slots=True)
class Redaction:
    """*folders* and *names*: what stands for it, and the text that is hidden. Longer ones go first. *listed*: the words
    that keys are written down with."""

    folders: Mapping[str, str]
    names: Mapping[str, str]
    listed: frozenset[str] = field(default_factory=frozenset)

    def of(self, text: str) -> str:
        text = _LOGIN.sub("<login>@", text)
        for label, path in sorted(self.folders.items(), key=lambda pair: -len(pair[1])):
            if len(path) > 1:
                text = text.replace(path, f"<{label}>")
        text = _ACCOUNT.sub("<account>", text)
        text = _UUID.sub("<id>", text)
        text = _MAC.sub("<hardware address>", text)
        text = _KEY.sub("<key>", text)
        text = self._without_words(text)
        text = _MAIL.sub("<mail>", text)
        text = _WINDOWS_PATH.sub("<path>", text)
        text = _UNIX_PATH.sub("<path>", text)
        text = _BEARER.sub("<secret>", _NAMED.sub(r"\1\2<secret>", text))
        text = _RANDOM.sub("<secret>", text)
        text = _RANDOM_URL.sub("<secret>", text)
        text = _HOST.sub("<host>", text)
        text = _WORD.sub(_hide_address, text)
        for label, name in sorted(self.names.items(), key=lambda pair: -len(pair[1])):
            if len(name) >= _NAME_LETTERS and name.lower() not in _PLAIN:
                text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", f"<{label}>", text, flags=re.IGNORECASE)
        return text

    def _without_words(self, text: str) -> str:
        """Keys as words, however they are set: numbered, in lines, in capitals."""
        kept, at = [], 0
        for start, end in self._runs(text):
            kept += [text[at:start], "<words>"]
            at = end
        return "".join([*kept, text[at:]])

    def _runs(self, text: str) -> list[tuple[int, int]]:
        runs: list[tuple[int, int]] = []
        start = end = count = 0
        for found in (*_LETTERS.finditer(text), None):
            listed = found is not None and found[0].lower() in self.listed
            if found is not None and listed and count and _BETWEEN.fullmatch(text, end, found.start()):
                end, count = found.end(), count + 1
                continue
            if count >= WORDS_IN_A_ROW:
                runs.append((start, end))
            if found is not None:
                start, end, count = found.start(), found.end(), int(listed)
        return runs


def _hide_address(found: re.Match[str]) -> str:
    """Whole addresses of this or another machine; loopback and "any" are the same everywhere."""
    word = found[0]
    host, port = (word, "") if word.count(":") != 1 else (word.partition(":")[0], ":" + word.partition(":")[2])
    stripped = host.rstrip(".:") if not host.endswith("::") else host
    try:
        address = ip_address(stripped)
    except ValueError:
        return word
    if address.is_loopback or address.is_unspecified:
        return word
    return "<address>" + host[len(stripped) :] + port
