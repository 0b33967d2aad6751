"""Letting a model speak, and recording what it thought of every token."""
