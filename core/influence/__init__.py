"""Influence: which training rows, and which of their tokens, made a model say what it says.

`study` finds what can be looked at in a model, `fit_factors` works out its curvature once, and `answer` scores training
rows for queries as often as there are questions: Σ over layers of ⟨P(G_q), G_i⟩ with a query's and a training row's
gradients and an approximate inverse curvature P (Grosse et al. 2023). Rows belong to training objectives, so that what
is asked about is what was trained.

    subject = study(model, objective)
    factors = fit_factors(subject, objective, cache)
    found = answer(subject, factors, Side.all_of(objective), Side.all_of(queries), folder)
"""

from .answer import Checkpoint, ScoreSettings, answer, answer_over
from .factors import STRATEGIES, Factors, FactorSettings, Strategy, fit_factors
from .marked import Marked, queries_of_tokens
from .passes import Subject, study
from .planner import Plan, plan_queries
from .prepared import Prepared, prepare
from .profile import Phase, Profile
from .results import SIGN, Answer, Tokens
from .scoring import layer_of_whole_rows, row_scores, self_scores, token_scores, token_scores_of_pairs
from .sides import Side
from .top import Top
from .watch import Watch

__all__ = [
    "SIGN",
    "STRATEGIES",
    "Answer",
    "Checkpoint",
    "FactorSettings",
    "Factors",
    "Marked",
    "Phase",
    "Plan",
    "Prepared",
    "Profile",
    "ScoreSettings",
    "Side",
    "Strategy",
    "Subject",
    "Tokens",
    "Top",
    "Watch",
    "answer",
    "answer_over",
    "fit_factors",
    "layer_of_whole_rows",
    "plan_queries",
    "prepare",
    "queries_of_tokens",
    "row_scores",
    "self_scores",
    "study",
    "token_scores",
    "token_scores_of_pairs",
]
