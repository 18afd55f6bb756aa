"""CLI: the door.

Is: arguments in, lines and exit codes out, and which process to start.
Knows: every floor below, each imported only inside the command that needs it.
Never: holds logic, shows a traceback, or takes more than 0.3 s for --help.
Start at: main.py.
"""
