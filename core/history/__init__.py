"""The history of all runs, in one SQLite file.

`database` opens and migrates the file, `ledger` writes the few facts that start and end things, `recorder`
takes what a running stage measures and `series` puts it into the blocks of `blocks`; `queries` reads, curves by
way of `curves`, and gives `records`; `liveness` tells whether a run is alive.
"""
