"""View: photographs turned into words, rows and bars.

Is: pure functions from a Snapshot and a moment to the text of a screen or a terminal line.
Knows: base and wire.control.
Never: reads a clock or a file, imports a screen library, or shows an unknown as 0.
Start at: text.py for how anything reaches a screen, overview.py for the first screen.
"""
