"""The arguments and options that several commands share."""

from typing import Annotated

import typer

RunArgument = Annotated[
    str, typer.Argument(metavar="RUN", help="A run's id, the start of it, its name, or `last`.", show_default=False)
]
RecipeArgument = Annotated[
    str, typer.Argument(metavar="RECIPE", help="A recipe file, or the name of a recipe that comes with lmwb.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change the recipe, such as train.lr=3e-4; may be repeated."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
EventsOption = Annotated[bool, typer.Option("--json", help="Print what happens as JSON, a line each.")]
DetachOption = Annotated[bool, typer.Option("--detach", "-d", help="Print the run's id and leave at once.")]
SmokeOption = Annotated[
    bool, typer.Option("--smoke", help="Try it within a minute: tiny model, few rows and steps; told what is replaced.")
]
