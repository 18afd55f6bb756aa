"""What desktops tell logind: the idle hint.

Only its yes is believed, and only as far as it goes: hands were still when the desktop said so. Its no
may come from a desktop that never says anything (KDE, sway without swayidle).
"""

from __future__ import annotations

from collections.abc import Callable

from potminer.world.rig.idle.reading import Reading
from potminer.world.rig.program import Run

SOURCE = "logind"


def read_logind(run: Run, *, place: str, session: str, wall_ms: Callable[[], int]) -> Reading:
    """*session* is logind's id; the hint's time is Unix time in microseconds."""
    answer = run(["loginctl", "show-session", session, "--property=IdleHint", "--property=IdleSinceHint"])
    if answer is None:
        return Reading(place, SOURCE, None, "loginctl does not answer")
    pairs = (line.partition("=") for line in answer.decode(errors="replace").splitlines())
    said = {key: value for key, _, value in pairs}
    since = said.get("IdleSinceHint", "")
    if said.get("IdleHint") != "yes" or not (since.isascii() and since.isdecimal() and 0 < len(since) <= 19):
        return Reading(place, SOURCE, None, "this desktop does not tell when it is idle")
    if int(since) == 0:
        return Reading(place, SOURCE, None, "logind does not say since when")
    return Reading(place, SOURCE, max(0, wall_ms() - int(since) // 1_000), "logind's idle hint")
