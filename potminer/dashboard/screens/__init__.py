"""Screens: one file per screen of the dashboard.

Is: which panels stand where, what is asked for them while they are shown, and what an empty one says.
Knows: widgets, view, and a Source for its one question.
Never: works while it is hidden, posts a letter, or computes what it shows.
Start at: board.py for what all share, then overview.py.
"""
