"""Screens: one file per screen of the dashboard.

Is: which panels stand where, and what an empty one says.
Knows: widgets, view.
Never: asks a source for anything; ``show`` is handed what there is.
Start at: overview.py.
"""
