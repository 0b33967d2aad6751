"""The stage that compares the results of other stages."""

from typing import Any

from ..history.queries import Run
from ..home import Home
from ..recipe.schema import CompareStage
from .context import StageContext


def run(stage: CompareStage, context: StageContext, home: Home, run: Run) -> dict[str, Any]:
    """Write tables and pictures; returns the table."""
    raise NotImplementedError
