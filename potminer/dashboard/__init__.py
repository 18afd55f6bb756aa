"""Dashboard: the screen on a terminal.

Is: a Textual app that draws photographs and posts letters.
Knows: base, wire.control, view and Textual. It is handed a Source; it never opens a connection itself.
Never: holds the node, reads files, decides, or shows a number without unit and age.
Start at: app.py, then screens/overview.py.
"""
