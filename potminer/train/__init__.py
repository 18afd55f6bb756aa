"""Train: tensors, in a process of their own.

Is: what a unit computes, its integers, their audit, sum and evaluation; the worker process around it.
Knows: wire and base, numpy; torch only in model, step, evaluate, device and bench.
Never: opens a socket, runs code from a task, imports torch to aggregate, lets a float decide for replicas.
Start at: step.py for a unit, snap.py for its integers, worker.py for the process.
"""
