"""Measuring models and predictions: the stage, the command, the tables."""

import csv
import io
import json
import math
import shutil
from contextlib import closing

import pytest
import tiny
import torch
from lmwb.core.comparison import compare, outcomes_of
from lmwb.core.decoding.loading import load
from lmwb.core.errors import Stopped, UsageError, ValueInRecipeError
from lmwb.core.evaluation.examples import read_examples
from lmwb.core.evaluation.measure import measure
from lmwb.core.evaluation.over_seeds import evaluation_over_seeds
from lmwb.core.evaluation.perplexity import perplexity_of_continuations
from lmwb.core.evaluation.predictions import classes, measure_predictions, scores
from lmwb.core.evaluation.rouge import pooled
from lmwb.core.evaluation.table import EvaluationTable
from lmwb.core.history.database import open_database
from lmwb.core.history.ledger import StagePlan, begin_attempt, begin_stage, create_run, end_attempt, end_stage
from lmwb.core.history.liveness import this_machine
from lmwb.core.history.queries import History
from lmwb.core.history.recorder import Recorder
from lmwb.core.home import Home
from lmwb.core.recipe.schema import EvaluateStage
from lmwb.core.stages import evaluate
from lmwb.core.stages.context import StageContext
from lmwb.tui.cli import run
from sklearn import metrics

STORIES = (
    "The cat sat on the mat. A dog ran over the hill. End.\n\nShe opened the door. The wind came in.\n\nOne only.\n"
)
PAIRS = [("The cat sat on the mat.", " A dog ran over the hill."), ("She opened the door.", " The wind came in.")]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Two models of one tokenizer, as folders."""
    folder = tmp_path_factory.mktemp("models")
    of = tiny.tokenizer()
    for number, name in enumerate(("before", "after")):
        model = tiny.model(of)
        torch.manual_seed(number)
        for weight in model.parameters():
            weight.data += 0.2 * number * torch.randn_like(weight)
        model.save_pretrained(folder / name)
        of.save_pretrained(folder / name)
    return folder


@pytest.fixture
def stories(tmp_path):
    path = tmp_path / "stories.txt"
    path.write_text(STORIES)
    return path


def settings(folder, stories, **changes):
    document = {
        "models": {"before": str(folder / "before"), "after": str(folder / "after")},
        "data": {"test": str(stories), "examples": "stories"},
        "measures": ["perplexity", "rouge"],
        "decoding": {"tokens": 5, "beams": 2},
    }
    return EvaluateStage.model_validate({**document, **changes})


def work(home, stage, uid="run-abcde", stop_wanted=lambda: False):
    """Carry a stage out in a run of its own, or go on with that run; returns its results."""
    toml = f"name = 'run'\n[[stage]]\nname = 'evaluate'\nmodels = {{ {', '.join(f'{m} = 1' for m in stage.models)} }}\n"
    with closing(open_database(home)) as connection:
        run_id = (
            connection.execute("SELECT id FROM run WHERE uid = ?", (uid,)).fetchone()
            or [create_run(connection, uid, "run", toml, [StagePlan("evaluate", "evaluate")])]
        )[0]
        attempt = begin_attempt(connection, run_id, this_machine())
        (stage_id,) = connection.execute("SELECT id FROM stage WHERE run_id = ?", (run_id,)).fetchone()
        folder = home.run_folder(uid)
        with closing(Recorder(home, run_id, attempt, warn=print)) as recorder:
            context = StageContext(
                stage_id, folder, folder / "evaluate", recorder,
                lambda total, after: begin_stage(connection, stage_id, total, attempt, after), stop_wanted,
                home.cache, 0, torch.device("cpu"),
            )  # fmt: skip
            results = evaluate.run(stage, context, home)
        end_stage(connection, stage_id, results)
        end_attempt(connection, attempt, "finished", 0)
    return results


def test_the_stage_puts_before_and_after_into_one_table(models, stories, tmp_path, capsys):
    home = Home(tmp_path / "home")
    results = work(home, settings(models, stories))
    assert results["models"] == ["before", "after"]
    for name in results["models"]:
        loaded = load(str(models / name), home, "cpu")
        expected = perplexity_of_continuations(loaded.model, loaded.tokenizer, PAIRS)
        group = results[f"test/{name}"]
        assert group["perplexity"] == pytest.approx(expected.corpus, rel=1e-6)
        assert (group["pairs"], group["rouge_pairs"]) == (2, 2)
        rows = [row for row in continuations(home) if row["model"] == name]
        assert [(row["prefix"], row["gold"]) for row in rows] == PAIRS
        ids = [[loaded.tokenizer(row[key], add_special_tokens=False)["input_ids"] for key in ("predicted", "gold")]
               for row in rows]  # fmt: skip
        assert group["rouge_pooled_3"] == pytest.approx(sum(pooled(*each) for each in ids) / 2)
    assert results["test/before"]["perplexity"] != results["test/after"]["perplexity"]
    folder = home.run_folder("run-abcde") / "evaluate"
    table = json.loads((folder / "evaluation.json").read_text())
    assert table["models"][1]["figures"]["perplexity"]["mean"] == results["test/after"]["perplexity"]
    assert "skipped for want of a second sentence: 1" in (folder / "evaluation.md").read_text()
    assert "rouge_pooled_3: n-grams of orders 1 to 3 together, over token ids" in capsys.readouterr().out


def test_a_stage_that_was_stopped_goes_on_with_the_models_that_are_left(models, stories, tmp_path, monkeypatch, capsys):
    whole, home, stage = Home(tmp_path / "whole"), Home(tmp_path / "home"), settings(models, stories)
    expected = work(whole, stage)
    kept = home.run_folder("run-abcde") / "evaluate" / evaluate.MEASURED
    with pytest.raises(Stopped):
        work(home, stage, stop_wanted=kept.exists)
    assert "what models came to so far is kept" in capsys.readouterr().out
    loaded = []

    def watched(reference, *rest, **more):
        loaded.append(reference)
        return load(reference, *rest, **more)

    monkeypatch.setattr(evaluate, "load", watched)
    assert work(home, stage) == expected
    assert loaded == [str(models / "after")]
    assert "measured before: before" in capsys.readouterr().out
    for name in expected["files"]:
        assert (kept.parent / name).read_text() == (whole.run_folder("run-abcde") / "evaluate" / name).read_text()


@pytest.mark.parametrize("change", ["model", "texts", "settings", "torn"])
def test_what_was_kept_serves_only_the_same_model_texts_and_settings(models, stories, tmp_path, change):
    home = Home(tmp_path / "home")
    names = {"it": str(tmp_path / "it")}
    shutil.copytree(models / "before", tmp_path / "it")
    before = work(home, settings(models, stories, models=names))
    stage = settings(models, stories, models=names)
    if change == "model":
        shutil.copytree(models / "after", tmp_path / "it", dirs_exist_ok=True)
    elif change == "texts":
        stories.write_text(STORIES + "\n\nNight came. All slept.\n")
    elif change == "settings":
        stage = settings(models, stories, models=names, boundary="joint", beginning="always")
    else:
        for path in (home.run_folder("run-abcde") / "evaluate" / evaluate.MEASURED).iterdir():
            path.write_text(path.read_text()[:-9])
    again, afresh = work(home, stage), work(Home(tmp_path / "other"), stage)
    assert again == afresh
    assert (again == before) == (change == "torn")


@pytest.mark.parametrize("measures", [["perplexity"], ["rouge"]])
def test_a_wish_to_stop_is_heeded_within_a_batch(models, tmp_path, measures):
    """Between two looks the model is asked once: for a batch of texts, or for a step of a search."""
    stories = tmp_path / "many.txt"
    stories.write_text("\n\n".join(f"Number {number} fell down. " + "It broke in two. " * 40 for number in range(40)))
    examples = "stories" if measures == ["rouge"] else "texts"
    stage = settings(models, stories, measures=measures, data={"test": str(stories), "examples": examples})
    loaded = load(str(models / "before"), Home(tmp_path / "home"), "cpu")
    asked, looks = [], []
    loaded.model.register_forward_hook(lambda *_: asked.append(len(looks)))

    def look():
        looks.append(len(asked))
        if len(looks) == 4:
            raise Stopped

    with pytest.raises(Stopped):
        measure(loaded, read_examples(stage.data), stage, look)
    assert looks == [1, 2, 3, 4]


def continuations(home):
    path = home.run_folder("run-abcde") / "evaluate" / "continuations.csv"
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))


def test_models_that_were_measured_can_be_compared(models, stories, tmp_path):
    home = Home(tmp_path / "home")
    results = work(home, settings(models, stories, measures=["perplexity"]))
    with closing(History(home)) as history:
        found = history.find("last")
        table = compare(outcomes_of(history, [found]))
        assert (table.metric, table.lower_is_better, table.baseline) == ("test/perplexity", True, "before")
        assert [row.label for row in table.rows] == ["before", "after"]
        assert table.rows[1].mean == results["test/after"]["perplexity"]
        assert history.runs()[0].figure.value == results["test/after"]["perplexity"]
        assert evaluation_over_seeds(history, found).models == ("before", "after")


def test_over_seeds_there_are_means_and_deviations(tmp_path):
    home = Home(tmp_path)
    with closing(open_database(home)) as connection:
        parent = create_run(connection, "run-abcde", "run", "name = 'run'", [])
        end_attempt(connection, begin_attempt(connection, parent, this_machine()), "finished", 0)
        for number, value in enumerate([30.0, 34.0, None]):
            toml = (
                f"name = 'run'\nseed = {number}\n[[stage]]\nname = 'tune'\n[[stage]]\nname = 'evaluate'\n"
                "models = { before = 'a', after = 'b' }\n"
            )
            plans = [StagePlan("tune", "train"), StagePlan("evaluate", "evaluate")]
            uid = f"run-abcde-{number + 1}"
            run_id = create_run(connection, uid, "run", toml, plans, None, parent, f"seed {number}")
            attempt = begin_attempt(connection, run_id, this_machine())
            stages = connection.execute("SELECT id FROM stage WHERE run_id = ? ORDER BY position", (run_id,)).fetchall()
            end_stage(connection, stages[0][0], {"validation": {"perplexity": 1.0}})
            if value is not None:
                groups = {
                    "test/before": {"perplexity": 50.0, "pairs": 7},
                    "test/after": {"perplexity": value, "pairs": 7},
                }
                end_stage(connection, stages[1][0], {"models": ["before", "after"], "notes": ["how"], **groups})
            outcome = "failed" if value is None else "finished"
            end_attempt(connection, attempt, outcome, int(value is None), message=value and "no luck")
    with closing(History(home)) as history:
        found = history.find("run-abcde")
        table = compare(outcomes_of(history, [found]))
        after = table.rows[1]
        assert (table.metric, after.n, after.mean, after.deviation) == ("test/perplexity", 2, 32, pytest.approx(8**0.5))
        assert after.difference.mean == -18
        assert len(after.missing) == 1
        both = evaluation_over_seeds(history, found)
    assert both.cells() == [
        ["n (seeds)", "2", "2"],
        ["perplexity", "50", "32 ± 2.828"],
        ["pairs", "7", "7"],
    ]
    assert both.notes[0] == "how"
    assert any("seed 2 has failed" in note for note in both.notes)
    assert json.loads(both.as_json())["models"][1]["figures"]["perplexity"]["values"] == [30.0, 34.0]


def test_tables_hold_what_is_not_defined_as_nothing():
    table = EvaluationTable.of([("a|b", {"x": None, "y": math.nan, "z": math.inf, "n": 1234})])
    assert table.cells() == [["x", "–"], ["y", "–"], ["z", "inf"], ["n", "1,234"]]
    assert json.loads(table.as_json())["models"][0]["figures"]["z"]["mean"] is None
    assert "| a\\|b |" in table.as_markdown().splitlines()[0]
    assert next(csv.DictReader(io.StringIO(table.as_csv())))["mean"] == ""


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"measures": ["rouge"], "data": {"test": "x"}}, "needs something to go on from"),
        ({"measures": ["rouge", "rouge"]}, "a measure stands twice"),
        ({"models": {}}, "at least 1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(models, stories, changes, sentence):
    with pytest.raises(ValueError, match=sentence):
        settings(models, stories, **changes)


@pytest.mark.parametrize(
    ("changes", "key", "sentence"),
    [
        ({"models": {"one": "hub:there/is-none"}}, "models.one", "cannot load a causal language model"),
        ({"decoding": {"tokens": 500}}, "models.before", "no prefix leaves room for 500 tokens"),
    ],
)
def test_what_cannot_be_measured_is_told_with_its_key(models, stories, tmp_path, changes, key, sentence):
    with pytest.raises(ValueInRecipeError, match=sentence) as caught:
        work(Home(tmp_path / "home"), settings(models, stories, **changes))
    assert caught.value.key == key


def test_texts_without_two_sentences_are_told(models, tmp_path):
    path = tmp_path / "one.txt"
    path.write_text("One only.\n")
    with pytest.raises(ValueInRecipeError, match="none of 1 texts has two sentences"):
        work(Home(tmp_path / "home"), settings(models, path))


# -- the command ----------------------------------------------------------------------------------


def test_the_command_prints_one_table(models, stories, tmp_path, capsys):
    words = [
        f"before={models / 'before'}",
        f"after={models / 'after'}",
        "--data",
        str(stories),
        "--examples",
        "stories",
    ]
    assert run(["--home", str(tmp_path), "evaluate", *words, "--json"]) == 0
    told = capsys.readouterr()
    document = json.loads(told.out)
    assert [each["name"] for each in document["models"]] == ["before", "after"]
    assert document["models"][0]["figures"]["pairs"]["mean"] == 2
    assert "before: measuring" in told.err
    assert run(["--home", str(tmp_path), "evaluate", *words, "--boundary", "joint"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["before", "after"]
    assert [line.split()[0] for line in lines[1:4]] == ["perplexity", "mean_perplexity", "geometric_mean_perplexity"]
    assert any("boundary 'joint'" in line for line in lines)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "name a model and --data"),
        (["model", "--data", "x", "--measures", "speed"], "--measures"),
        (["model", "--data", "x", "--measures", "rouge"], "needs something to go on from"),
        (["a", "a", "--data", "x"], "'a' stands twice; say NAME=a"),
        (["a", "--predictions", "x"], "--predictions stands alone"),
        (["a", "--data", "x", "--json", "--csv"], "choose one of"),
    ],
)
def test_wrong_words_get_a_sentence(words, sentence, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(["--home", str(tmp_path), "evaluate", *words]) in (2, 3)
    assert sentence in capsys.readouterr().err


@pytest.mark.slow
def test_a_recipe_is_checked_with_what_models_would_be_measured_on(models, stories, tmp_path, capsys):
    recipe = tmp_path / "recipe.toml"
    text = f'name = "x"\n[[stage]]\nkind = "evaluate"\nmodels = {{ one = "{models / "before"}" }}\n'
    recipe.write_text(f'{text}data = {{ test = "{stories}", examples = "stories" }}\n')
    assert run(["check", str(recipe)]) == 0
    assert "skipped for want of a second sentence: 1" in capsys.readouterr().out
    recipe.write_text(f'{text}data = {{ test = "{stories}", examples = "pairs" }}\n')
    assert run(["check", str(recipe)]) == 2
    assert "recipe.toml:5" in (told := capsys.readouterr().err)
    assert "is no table" in told
    recipe.write_text(f'{text.replace("before", "gone")}data = {{ test = "{stories}" }}\n')
    assert run(["check", str(recipe)]) == 2
    assert "recipe.toml:4: models.one: no such folder" in capsys.readouterr().err


# -- predictions ----------------------------------------------------------------------------------


def test_predictions_of_classes_are_measured_as_scikit_learn_does():
    said, true = ["b", "a", "c", "a", "b", "b"], ["b", "a", "a", "a", "c", "b"]
    found = classes(said, true).figures
    assert found["accuracy"] == pytest.approx(4 / 6)
    assert found["macro_f1"] == pytest.approx(metrics.f1_score(true, said, average="macro"))
    assert found["matthews"] == pytest.approx(metrics.matthews_corrcoef(true, said))
    assert "f1" not in found
    two = classes(["10", "9", "10"], ["10", "10", "9"])
    assert two.figures["f1"] == pytest.approx(0.5)  # of 10, which comes after 9
    assert "f1 is that of class '10'" in two.notes


def test_predictions_of_scores_and_texts(tmp_path):
    found = scores(["1", "2", "4"], ["1.0", "2", "3"]).figures
    assert found["spearman"] == pytest.approx(1)
    assert found["pearson"] == pytest.approx(3 / (2 * 14 / 3) ** 0.5)
    with pytest.raises(UsageError, match="these are no scores"):
        scores(["x"], ["1"])
    table = tmp_path / "said.csv"
    table.write_text("predicted,gold\na b a b a b,a b\n")
    assert measure_predictions(table, "texts").figures["rouge_pooled_3"] == pytest.approx(3)


def test_the_truth_may_stand_in_another_table_and_rows_without_it_are_counted(tmp_path, capsys):
    (tmp_path / "said.csv").write_text("row,label\n1,good\n2,bad\n3,bad\n")
    (tmp_path / "true.csv").write_text("text,label\nx,good\ny,\nz,good\n")
    words = ["--predictions", str(tmp_path / "said.csv"), "--predicted", "label", "--gold", "label"]
    assert run(["evaluate", *words, "--gold-file", str(tmp_path / "true.csv"), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    figures = document["models"][0]["figures"]
    assert (figures["accuracy"]["mean"], figures["rows"]["mean"]) == (0.5, 2)
    assert "rows without anything in 'label', left out: 1" in document["notes"]
    (tmp_path / "true.csv").write_text("text,label\nx,good\n")
    assert run(["evaluate", *words, "--gold-file", str(tmp_path / "true.csv")]) == 2
    assert "must go together row by row" in capsys.readouterr().err
