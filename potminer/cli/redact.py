"""Text without what is nobody's business: names, addresses, keys and paths."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address

_ACCOUNT = re.compile(r"pot1[0-9a-z]{8,}")
_KEY = re.compile(r"\b[0-9a-fA-F]{32,}\b")
_UNIX_PATH = re.compile(r"(?<![\w/>])/[^\s/,;:'\")\]]+(?:/[^\s/,;:'\")\]]*)*")
_WINDOWS_PATH = re.compile(r"\b[A-Za-z]:\\[^\s,;'\")\]]*")
_WORD = re.compile(r"[0-9A-Fa-f.:%]{3,}")
_NAME_LETTERS = 2
_PLAIN = frozenset({"root", "rig", "localhost"})
"""Names that say nothing about anybody."""


@dataclass(frozen=True, slots=True)
class Redaction:
    """*folders* and *names*: what stands for it, and the text that is hidden. Longer ones go first."""

    folders: Mapping[str, str]
    names: Mapping[str, str]

    def of(self, text: str) -> str:
        for label, path in sorted(self.folders.items(), key=lambda pair: -len(pair[1])):
            if len(path) > 1:
                text = text.replace(path, f"<{label}>")
        text = _ACCOUNT.sub("<account>", text)
        text = _KEY.sub("<key>", text)
        text = _WINDOWS_PATH.sub("<path>", text)
        text = _UNIX_PATH.sub("<path>", text)
        text = _WORD.sub(_hide_address, text)
        for label, name in sorted(self.names.items(), key=lambda pair: -len(pair[1])):
            if len(name) >= _NAME_LETTERS and name.lower() not in _PLAIN:
                text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", f"<{label}>", text)
        return text


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
