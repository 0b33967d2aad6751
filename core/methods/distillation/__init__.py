"""Distillation: a student learns from a teacher's answers, too."""

from .method import distillation

__all__ = ["distillation"]
