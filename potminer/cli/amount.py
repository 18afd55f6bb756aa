"""An amount of money as people type it: ``1.5`` or ``1.5pot``, or ``25grains``; exact, never a float."""

from __future__ import annotations

import re
from typing import Any

import click

from potminer.base.bounded import GRAINS_PER_POT

_MOST = 2**53


class Amount(click.ParamType[int]):
    """Grains, at least 1."""

    name = "amount"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        found = re.fullmatch(r"(\d{1,16})(?:\.(\d{1,9}))?\s*(pot|grains?)?", str(value).strip().lower(), re.ASCII)
        if found is None or (found[2] and str(found[3]).startswith("grain")):
            self.fail(f"{str(value)[:40]!r} is not an amount such as 1.5 (POT) or 25grains", param, ctx)
        whole, part, unit = int(found[1]), found[2] or "", found[3] or "pot"
        grains = whole if unit.startswith("grain") else whole * GRAINS_PER_POT + int(part.ljust(9, "0"))
        if not 0 < grains <= _MOST:
            self.fail(f"{str(value)[:40]!r} is nothing, or more than there is", param, ctx)
        return grains
