"""Influence: which training rows, and which of their tokens, made a model say what it says."""
