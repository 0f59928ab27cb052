"""Decides from a run's history and its end whether the service kept its promises.

It judges simulated and real runs alike, and knows nothing of how a run was made: `steps` is what a
run is recorded as, `checker` decides I1 to I5 and I7, `leaks` decides I6, `marked` makes the events
that a leak is known by, and `evidence` reads from a real PostgreSQL what was committed, and when.
"""
