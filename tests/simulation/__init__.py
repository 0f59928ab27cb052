"""The pipeline in virtual time, between a queue and a database that lie as the real ones do.

A seed is a whole run: how many replicas, what is sent, what goes wrong, when, and in which order
callbacks that are ready at the same time run. `scenario` draws it, `world` runs it, `edges` is what
each replica sees of queue and database, and the checker in `tests.history` judges it.
"""
