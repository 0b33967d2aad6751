"""Commands about recipes: check one, list and copy the shipped ones, print the schema."""

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...core.errors import RecipeError, UsageError
from ...core.home import Home
from ...core.text import printable
from .options import JsonOption, RecipeArgument, SetOption, SmokeOption

if TYPE_CHECKING:
    from ...core.recipe import LoadedRecipe


def add_to(app: typer.Typer) -> None:
    """Put the commands into the app."""
    app.command()(check)
    app.command("recipes")(list_recipes)
    app.command()(new)
    app.command()(schema)


def check(
    context: typer.Context,
    recipe: RecipeArgument,
    changes: SetOption = None,
    smoke: SmokeOption = False,
    as_json: JsonOption = False,
) -> None:
    """Say what is wrong with a recipe, or what it would do. Shows rows, steps, sizes and examples."""
    from ...core.recipe import find_recipe, load
    from .output import print_json

    try:
        loaded = load(find_recipe(recipe), changes or (), context.obj.smoke if smoke else None)
        stages = _preview(loaded, context.obj)
    except RecipeError as error:
        if not as_json:
            raise
        print_json({"ok": False, "problems": list(error.problems)})
        raise typer.Exit(error.exit_code) from None
    if as_json:
        members = [member.label for member in loaded.members]
        print_json({"ok": True, "members": members, "stages": stages, "recipe": loaded.frozen})
        return
    print(printable(f"{loaded.recipe.name} is good"))
    if loaded.members:
        print(printable(_members_line(loaded)))
    for note in loaded.notes:
        print(printable(note))
    for stage in stages:
        for line in _preview_lines(stage):
            print(printable(line))


def list_recipes(
    name: Annotated[str | None, typer.Argument(help="Print this one.", show_default=False)] = None,
    as_json: JsonOption = False,
) -> None:
    """List the recipes that come with lmwb, or print one."""
    from ...core.recipe import recipe_names, recipe_text
    from .output import print_json, print_table

    if name is not None:
        text = recipe_text(name)
        print_json({"name": name, "text": text}) if as_json else print(text, end="")
        return
    listed = [(each, str(tomllib.loads(recipe_text(each)).get("description", ""))) for each in recipe_names()]
    if as_json:
        print_json([{"name": each, "description": description} for each, description in listed])
    else:
        print_table(("recipe", "description"), listed)


def new(
    name: Annotated[str, typer.Argument(help="What to call it; the file is NAME.toml.")],
    source: Annotated[str, typer.Option("--from", metavar="RECIPE", help="The recipe to copy.")] = "quickstart",
) -> None:
    """Copy a recipe that comes with lmwb to a file of your own."""
    from ...core.recipe import recipe_text
    from .output import notice

    path = Path(name if name.endswith(".toml") else f"{name}.toml")
    quoted = json.dumps(path.stem, ensure_ascii=False)
    text = re.sub(r"^name *= *.*$", lambda _: f"name = {quoted}", recipe_text(source), count=1, flags=re.MULTILINE)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise UsageError(f"{path} exists already; choose another name") from None
    print(path)
    notice(f"edit it, then: lmwb check {path} · lmwb run {path}")


def schema() -> None:
    """Print the JSON Schema of recipes, with every key explained."""
    from ...core.recipe import schema_json

    print(schema_json())


# -- preview --------------------------------------------------------------------------------------


def _preview(loaded: "LoadedRecipe", home: Home) -> list[dict[str, Any]]:
    """What each stage would do; worked out by another process, which may need torch.

    Raises:
        RecipeError: a value does not fit the data or the model.
    """
    import subprocess
    import sys

    question = json.dumps({"recipe": loaded.frozen, "origins": dict(loaded.origins), "home": str(home.root)})
    done = subprocess.run(
        [sys.executable, "-P", "-m", "lmwb.core.preview"], input=question.encode(), capture_output=True, check=False
    )
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        told = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise RuntimeError(f"the preview ended with code {done.returncode}: {told[-1] if told else ''}") from None
    if "error" in answer:
        raise RecipeError(str(answer["error"]).splitlines())
    return answer["stages"]


def _members_line(loaded: "LoadedRecipe") -> str:
    """How many members there are, the first and the last of them, and whose stages are shown below."""
    labels = [member.label for member in loaded.members]
    named = ", ".join(labels) if len(labels) <= 6 else f"{', '.join(labels[:4])}, …, {labels[-1]}"
    return f"{len(labels)} member{'s' if len(labels) > 1 else ''}: {named}; the first does this:"


def _preview_lines(stage: dict[str, Any]) -> Iterator[str]:
    """What a stage would do, for people; not made printable."""
    from .. import words

    if "steps" not in stage:
        later = f"; builds on stage {stage['builds_on']}" if "builds_on" in stage else ""
        later = "; looks at what the others leave" if stage["kind"] == "compare" else later
        yield f"stage {stage['name']}  ({stage['kind']}{later})"
        for note in stage.get("notes", ()):
            yield _row("note", note)
        return
    yield f"stage {stage['name']}  ({stage['kind']}, {stage['objective']})"
    for what, parts in stage["counts"].items():
        yield _row(what, "  ".join(f"{part} {words.count(n)}" for part, n in parts.items() if n))
    if "rows" not in stage["counts"]:
        of = {part: words.count(stage[f"{part}_rows"]) for part in ("train", "validation")}
        yield _row("rows", f"train {of['train']}  validation {of['validation']}")
    kinds = "" if stage["vocabulary"] is None else f", of {words.count(stage['vocabulary'])} kinds"
    yield _row("tokens", f"{words.count(stage['tokens_per_epoch'])} an epoch{kinds}")
    yield _row("steps", f"{words.count(stage['steps'])}, {words.number(stage['epochs'])} epochs")
    trained = "" if stage["trained"] == stage["parameters"] else f", {words.count(stage['trained'])} of them trained"
    yield _row("parameters", words.count(stage["parameters"]) + trained)
    disk = f"{words.size(stage['checkpoint_bytes'])} for checkpoints, {words.size(stage['free_bytes'])} free"
    yield _row("disk", disk + ("" if stage["checkpoint_bytes"] < stage["free_bytes"] else ": too little"))
    for note in stage["notes"]:
        yield _row("note", note)
    for number, example in enumerate(stage["examples"], 1):
        yield _row(f"example {number}", example)
    if stage["details"].get("end_of_turn") is not None:
        yield _row("", "what stands between ⟦ and ⟧ is learned")


def _row(name: str, value: str) -> str:
    return f"  {name:<11} {value}"
