"""The training library behind lmwb: recipes, runs, training, and the history of what happened.

Nothing in here knows about a screen. Importing this package costs nothing; torch and transformers
are imported only by the modules that do a run's work.
"""
