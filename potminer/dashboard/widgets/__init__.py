"""Widgets: small panels that draw strings.

Is: devices, facts, tables, charts, the day as a strip, alerts, the lines on top.
Knows: view's rows; text is placed letter by letter and never read as markup.
Never: computes what it shows.
Start at: drawing.py for how a line is put together.
"""
