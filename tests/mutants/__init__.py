"""One-place mutants of the code that must not fail, and the tests that must notice each.

`make mutants` changes the code in one place, runs the tests of that file, and restores it. A mutant
that no test notices is a survivor. Each known survivor has its reason in survivors.toml; a new one
fails the target. The code is changed in copies of the tree, never in the tree itself.
"""
