"""What the documents name exists: words, tests, decisions and links."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
SOURCE = "\n".join(p.read_text(encoding="utf-8") for p in sorted((ROOT / "potminer").rglob("*.py")))


def text_of(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def rows(name: str) -> list[list[str]]:
    lines = [line for line in text_of(name).splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


GLOSSARY = rows("GLOSSARY.md")
INVARIANTS = re.findall(r"^(\d+)\. (.+?)(?=^\d+\. |^## |\Z)", text_of("INVARIANTS.md"), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("row", GLOSSARY, ids=lambda row: row[0])
def test_a_word_of_the_glossary_is_spoken_in_the_code(row: list[str]) -> None:
    names = re.findall(r"`([A-Za-z_.]+)`", row[2])
    assert names, f"{row[0]} names nothing in the code"
    unspoken = [n for n in names if not re.search(rf"\b{re.escape(n.rpartition('.')[2])}\b", SOURCE)]
    assert not unspoken, f"{row[0]}: {unspoken} is not in potminer/"


def test_words_stand_in_order_and_once() -> None:
    words = [row[0].lower() for row in GLOSSARY]
    assert words == sorted(set(words))


def test_invariants_are_numbered_in_order() -> None:
    assert [int(number) for number, _ in INVARIANTS] == list(range(1, len(INVARIANTS) + 1))


@pytest.mark.parametrize(("number", "text"), INVARIANTS, ids=[number for number, _ in INVARIANTS])
def test_an_invariant_names_a_test_that_exists(number: str, text: str) -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", text)
    assert named, f"invariant {number} names no test"
    for path, function in named:
        assert (ROOT / path).exists(), f"invariant {number}: {path} does not exist"
        if function:
            assert f"def {function}(" in (ROOT / path).read_text(encoding="utf-8"), f"{path} has no {function}"


@pytest.mark.parametrize(("number", "text"), INVARIANTS, ids=[number for number, _ in INVARIANTS])
def test_an_invariant_names_code_that_exists(number: str, text: str) -> None:
    """A path is there, and a symbol is defined in one of the files that the invariant names, where it names any."""
    named = [name for name in re.findall(r"`([^`]+)`", text) if not name.startswith("tests/")]
    paths = [name for name in named if "/" in name or name.endswith((".toml", ".md"))]
    missing = [path for path in paths if not (ROOT / "potminer" / path).exists() and not (ROOT / path).exists()]
    assert not missing, f"invariant {number}: {missing} does not exist"
    files = [ROOT / "potminer" / path for path in paths if path.endswith(".py") and not path.startswith("docs/")]
    code = "\n".join(path.read_text(encoding="utf-8") for path in files) or SOURCE
    undefined = [name for name in set(named) - set(paths) if not all(map(partial(defines, code), name.split(".")))]
    assert not undefined, f"invariant {number}: {undefined} is not defined in {paths or 'potminer/'}"


def defines(code: str, name: str) -> bool:
    return re.search(rf"(?m)^\s*(?:(?:async )?def|class) {name}\b|^\s*{name}(?:: [^=\n]+)? =", code) is not None


@pytest.mark.parametrize("doc", DOCS, ids=lambda doc: doc.relative_to(ROOT).as_posix())
def test_links_between_documents_lead_somewhere(doc: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", doc.read_text(encoding="utf-8"))
    local = [target for target in targets if "://" not in target]
    assert not [target for target in local if not (doc.parent / target).exists()]


def test_decisions_are_numbered_and_say_what_they_cost() -> None:
    files = sorted((ROOT / "docs/adr").glob("*.md"))
    numbers = [int(path.name[:4]) for path in files]
    assert numbers == sorted(set(numbers))
    for path in files:
        text = path.read_text(encoding="utf-8")
        missing = [part for part in ("Status: ", "## Context", "## Decision", "## Consequences") if part not in text]
        assert not missing, f"{path.name} lacks {missing}"
