"""Questions about influence made small: few queries, few rows shown, few trainings."""

from collections.abc import Callable, Sequence
from typing import Any

from .lines import is_list, is_table

_QUERIES = 2
_SHOWN = 3
_SUBSETS = 8


def trainings_asked_about(stages: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The tables `training` of stages that ask about a model that lmwb has not trained."""
    return [training for stage in stages if is_table(training := stage.get("training"))]


def small_questions(stage: dict[str, Any], tell: Callable[[str], None]) -> None:
    """Make a stage that asks for influence, or that tests whether it is true, small in place."""
    _few_queries(stage, tell)
    for table, key, most in (("factors", "parts", 2), ("scores", "top", _SHOWN)):
        value = stage.setdefault(table, {})
        if is_table(value) and (not isinstance(value.get(key), int) or value[key] > most):
            value[key] = most
    if stage.pop("checkpoints", None) is not None:
        tell("smoke: the training's result stands in for its checkpoints")
    if stage.get("kind") in ("counterfactual", "datamodel"):
        _few_trainings(stage, tell)


def _few_queries(stage: dict[str, Any], tell: Callable[[str], None]) -> None:
    asked, rows = stage.get("query"), stage.get("queries")
    if is_list(asked):
        stage["query"] = [_known(each) for each in asked[:_QUERIES]]
        if len(asked) > _QUERIES:
            tell(f"smoke: {_QUERIES} queries only")
    if is_table(rows):
        if rows.pop("rows", None) is not None:
            tell(f"smoke: the first {_QUERIES} rows stand in for those asked about")
        rows["count"] = _QUERIES


def _known(query: Any) -> Any:
    """The query with tokens that any tokenizer has."""
    if not is_table(query) or "ids" not in query:
        return query
    return {"ids": [1, 2, 3, 4]}


def _few_trainings(stage: dict[str, Any], tell: Callable[[str], None]) -> None:
    seeds, shares, variants = stage.get("seeds"), stage.get("shares"), stage.get("variants")
    stage["seeds"] = seeds[:1] if is_list(seeds) and seeds else [0]
    if is_list(shares):
        stage["shares"] = shares[-1:]
    if is_list(variants):
        stage["variants"] = [each for each in variants if not (is_table(each) and "checkpoints" in each)]
    if stage.get("kind") == "datamodel":
        stage["subsets"] = _SUBSETS
        tell(f"smoke: {_SUBSETS} subsets, one seed")
