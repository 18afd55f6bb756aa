"""Idle: who says whether a person is here, one file per system that can know.

Is: readings of places where a person may sit, three-valued, and the rule that joins them.
Knows: X servers, GNOME, logind, terminals, Windows and macOS, each asked with a deadline.
Never: takes silence for absence: what cannot be asked is unknown.
Start at: reading.py for the three values; linux.py for how a system asks.
"""
