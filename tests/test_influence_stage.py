"""The stage that asks for influence: what it leaves behind is what the library says of the rows trained on."""

import asked_runs
import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from lmwb.core.errors import RecipeError, Stopped, ValueInRecipeError
from lmwb.core.influence_report import read_report
from lmwb.core.recipe import load
from lmwb.core.stages.studied import read_training
from safetensors.numpy import load_file

QUERIES = """
[[query]]
prompt = "The cat sat on the mat"
text = " and looked at the dog."
[[query]]
text = "A dog ran over the hill"
"""
ROWS = '[queries]\npart = "train"\nrows = [7, 3]\n'


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    made = asked_runs.Runs(tmp_path_factory.mktemp("asked"))
    made.work("said", asked_runs.TRAINING)
    return made


@pytest.fixture(scope="module")
def asked(runs):
    results = runs.work("asked", asked_runs.question(QUERIES, strategies='["ekfac", "identity"]'))
    return results, read_report(runs.home.run_folder("asked") / "influence")


def studied(runs):
    return read_training("run:said", runs.home, runs.home.cache, lambda _: None)


def scores(runs, uid, results, strategy):
    return load_file(runs.home.run_folder(uid) / results["strategies"][strategy]["scores"])["scores"]


def test_rows_on_top_are_those_with_the_highest_scores_of_all(runs, asked):
    results, report = asked
    for strategy in ("ekfac", "identity"):
        every = scores(runs, "asked", results, strategy)
        assert every.shape == (2, report.training_rows) == (2, len(studied(runs).material.train))
        for query, answers in enumerate(report.answers[strategy]):
            found = {each.row: each.score for each in answers.best}
            assert found == {row: pytest.approx(every[query, row]) for row in found}
            assert sorted(found.values()) == pytest.approx(np.sort(every[query])[-10:])
            assert answers.worst[0].score == pytest.approx(every[query].min())
    top = pq.read_table(runs.home.run_folder("asked") / results["strategies"]["ekfac"]["top"])
    assert top.column_names == ["query", "side", "rank", "row", "score"]


def test_the_scores_of_tokens_add_up_and_belong_to_the_tokens_that_are_shown(asked):
    _, report = asked
    for answers in report.answers["ekfac"]:
        for each in (*answers.best, *answers.worst):
            text = report.rows[each.row]
            assert len(each.tokens) == len(text.ids) - 1  # nothing is predicted from the last
            assert sum(each.tokens) == pytest.approx(each.score, rel=1e-3, abs=1e-3)
            assert sum(each.query_tokens) == pytest.approx(each.score, rel=1e-3, abs=1e-3)
            pieces = b"".join(report.pieces[token] for token in text.ids if token not in report.special)
            assert pieces.decode() == text.words.replace("<|endoftext|>", "")


def test_prompts_only_condition_and_losses_are_those_of_what_is_asked_about(runs, asked):
    _, report = asked
    first, second = report.queries
    told = b"".join(report.pieces[token] for token in first.ids[first.first : first.end]).decode()
    assert told == " and looked at the dog."
    assert (second.first, second.end) == (0, len(second.ids))
    model = studied(runs).model(torch.device("cpu"))
    for query in (first, second):
        ids = torch.tensor([query.ids])
        with torch.inference_mode():
            chances = model(input_ids=ids).logits.log_softmax(-1)[0, :-1].gather(1, ids[0, 1:, None])[:, 0]
        assert query.loss == pytest.approx(-float(chances[max(0, query.first - 1) : query.end - 1].sum()), rel=1e-5)


def test_each_row_is_found_again_in_the_steps_that_saw_it(runs, asked):
    _, report = asked
    plan = studied(runs).plan
    for answers in report.answers["ekfac"]:
        for each in answers.best:
            (step, place), *more = report.rows[each.row].seen  # one epoch: once
            assert not more
            assert [row for part in plan.micro_batches(step) for row in part][place] == each.row
            assert report.batches[step][place] == each.row
            assert set(report.batches[step]) <= set(report.rows)


def test_notes_and_profile_tell_what_was_done(asked):
    results, report = asked
    assert any("embeddings" in note and "left out" in note for note in report.notes)
    assert any("damping" in note for note in report.notes)
    assert {"covariance", "eigendecomposition", "eigenvalue correction", "training gradients"} <= {
        each["phase"] for each in report.profile
    }
    assert results["told"]["query 1 ekfac"].startswith("best rows ")
    assert results["queries"] == 2


def test_a_row_asked_about_scores_itself_as_its_self_score_says(runs):
    results = runs.work("themselves", asked_runs.question(ROWS, strategies='["ekfac", "identity"]', self_scores="true"))
    report = read_report(runs.home.run_folder("themselves") / "influence")
    for strategy in ("ekfac", "identity"):
        own = pq.read_table(runs.home.run_folder("themselves") / results["strategies"][strategy]["self"])["score"]
        every = scores(runs, "themselves", results, strategy)
        assert [every[0, 7], every[1, 3]] == pytest.approx([own[7].as_py(), own[3].as_py()], rel=1e-3)
        highest = report.self_scores[strategy]
        assert [each.score for each in highest] == sorted((each.as_py() for each in own), reverse=True)[:10]
        assert {each.row for each in highest} <= set(report.rows)


def test_scores_over_checkpoints_are_their_mean(runs):
    both = runs.work("both", asked_runs.question(ROWS, checkpoints="[10, 20]"))
    alone = [runs.work(f"at-{step}", asked_runs.question(ROWS, checkpoints=f"[{step}]")) for step in (10, 20)]
    mean = np.mean([scores(runs, f"at-{step}", each, "ekfac") for step, each in zip((10, 20), alone, strict=True)], 0)
    assert scores(runs, "both", both, "ekfac") == pytest.approx(mean, rel=1e-3, abs=1e-4 * np.abs(mean).max())


def test_queries_together_are_their_sum_and_tokens_of_all_rows_are_kept(runs):
    apart = runs.work("apart", asked_runs.question(ROWS + '[scores]\ntokens = "none"\n'))
    text = ROWS + '[scores]\naggregated = true\ntokens = "all"\n'
    together = runs.work("together", asked_runs.question(text))
    whole = scores(runs, "apart", apart, "ekfac").sum(0)
    found = scores(runs, "together", together, "ekfac")
    assert found[0] == pytest.approx(whole, rel=1e-3, abs=1e-4 * np.abs(whole).max())
    report = read_report(runs.home.run_folder("together") / "influence")
    (answers,) = report.answers["ekfac"]
    assert sum(answers.best[0].tokens) == pytest.approx(answers.best[0].score, rel=1e-3)
    assert together["told"]["all queries"]
    assert not read_report(runs.home.run_folder("apart") / "influence").answers["ekfac"][0].best[0].tokens


def test_stopped_and_taken_up_again_it_finds_the_same(runs, asked):
    text = asked_runs.question(QUERIES, strategies='["ekfac", "identity"]')
    runs.add("stopped", text)
    for looks in (1, 2):
        with pytest.raises(Stopped):
            runs.work("stopped", stop_after=looks)
    results = runs.work("stopped")
    for strategy in ("ekfac", "identity"):
        assert (scores(runs, "stopped", results, strategy) == scores(runs, "asked", asked[0], strategy)).all()


CLASSES = """
name = "classes"
objective = "classification"
[model]
kind = "bag"
hidden = 8
[tokenizer]
kind = "words"
[data]
train = "rows.csv"
validation = 0.2
[train]
steps = 4
batch_size = 4
"""


def test_classifiers_tell_rows_with_their_labels(runs):
    rows = "".join(
        f"{'good bright' if i % 2 else 'bad dull'} film {i},{'up' if i % 2 else 'down'}\n" for i in range(20)
    )
    (runs.folder / "rows.csv").write_text(f"text,label\n{rows}")
    runs.work("classes", CLASSES)
    runs.work(
        "asked-classes", asked_runs.question("[queries]\ncount = 2\n", of="run:classes", strategies='["identity"]')
    )
    report = read_report(runs.home.run_folder("asked-classes") / "influence")
    told = [text.words for text in (*report.queries, *report.rows.values())]
    assert all(words.endswith(("→ up", "→ down")) for words in told)
    assert {("good" in words) == words.endswith("up") for words in told} == {True}
    assert any("sees a row's tokens only together" in note for note in report.notes)
    assert not report.answers["identity"][0].best[0].tokens


IMAGES = """
name = "images"
objective = "image-classification"
model = { kind = "convnet" }
data = { train = "drawn-digits", max_rows = 24 }
train = { steps = 2, batch_size = 4 }
"""


def test_images_have_no_tokens_and_it_is_told(runs):
    runs.work("images", IMAGES)
    runs.work("asked-images", asked_runs.question("[queries]\ncount = 1\n", of="run:images", strategies='["identity"]'))
    report = read_report(runs.home.run_folder("asked-images") / "influence")
    assert "scores of tokens are left out: a training row is no single text" in report.notes
    assert not report.answers["identity"][0].best[0].tokens
    assert not report.queries[0].ids
    assert "→" in report.queries[0].words


GIVEN = """
name = "given"
kind = "influence"
query = [{ text = "A dog ran over the hill" }]
[training]
model = { from = "MODEL" }
data = { train = "corpus.txt", block_size = 16, validation = 0.1 }
"""


def test_a_model_and_data_that_no_run_has_trained_are_asked_alike(runs, asked):
    model = runs.home.run_folder("said") / "train" / "model"
    results = runs.work(
        "given", GIVEN.replace("MODEL", str(model)).replace('name = "given"', 'name = "given"\nseed = 5')
    )
    found, wanted = scores(runs, "given", results, "ekfac"), scores(runs, "asked", asked[0], "ekfac")
    assert found[0] == pytest.approx(wanted[1], rel=1e-3, abs=1e-4 * np.abs(wanted).max())
    report = read_report(runs.home.run_folder("given") / "influence")
    assert not report.batches
    assert not any(row.seen for row in report.rows.values())


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("[training]", 'of = "run:said"\n[training]'), "say either 'of', a training of lmwb's, or 'training'"),
        (("[training]", "checkpoints = [3]\n[training]"), "only a training of lmwb's has checkpoints"),
        (("block_size", "block_sise"), "did you mean 'block_size'?"),
        (("corpus.txt", "corpse.txt"), "given.toml:7: data.train: no such file"),
        (('{ from = "MODEL" }', '{ type = "gpt2" }\ntokenizer = { kind = "bpe" }'), "must say 'from' where it is"),
        (("data = {", 'method = [{ kind = "lora", targets = ["c_attn"] }]\ndata = {'), "leave out training.method"),
    ],
)
def test_a_wrong_table_of_a_training_is_told_at_its_line(tmp_path, change, told):
    (tmp_path / "corpus.txt").write_text("some text")
    path = tmp_path / "given.toml"
    path.write_text(GIVEN.replace(*change).replace("MODEL", "somebody/gpt2"))
    with pytest.raises(RecipeError) as caught:
        load(path)
    assert told in str(caught.value)
    assert len(caught.value.problems) == 1


# -- what cannot be asked -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "more", "key", "told"),
    [
        ("[queries]\nrows = [900]\n", {}, "queries.rows", "there is no row 900; validation has 0 to "),
        ("[queries]\nrows = [1, 1]\n", {}, "queries.rows", "a row is named twice"),
        ('[queries]\npart = "test"\n', {}, "queries.part", "no test rows; it has validation, train"),
        ("[[query]]\nids = [5, 900]\n", {}, "query.0.ids", "there is no token 900; the tokenizer has "),
        ('[[query]]\ntext = "A"\n', {}, "query", "one token, which nothing before it predicts"),
        (QUERIES, {"checkpoints": "[10, 11]"}, "checkpoints", "no checkpoint of step 11; there are: 10, 20"),
        (QUERIES, {"of": "run:nobody"}, "of", "there is no run 'nobody'"),
        (QUERIES, {"of": "run:said/tain"}, "of", "no stage 'tain'; it has train"),
        (QUERIES, {"of": "run:crops"}, "of", "drawn anywhere"),
        ("[queries]\nrows = [0]\n[scores]\ndamping = 0.0\n", {"strategies": '["diagonal"]', "embeddings": "true"},
         "of", "singular"),
    ],
)  # fmt: skip
def test_what_cannot_be_asked_is_told_at_its_key(runs, text, more, key, told):
    if more.get("of") == "run:crops" and not runs.home.run_folder("crops").exists():
        runs.work("crops", asked_runs.TRAINING.replace("block_size", 'packing = "crops"\nblock_size'))
    with pytest.raises(ValueInRecipeError) as caught:
        runs.work(f"bad-{len(list(runs.home.root.glob('runs/*')))}", asked_runs.question(text, **more))
    assert caught.value.key == key
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_data_that_have_changed_since_are_not_asked(tmp_path):
    runs = asked_runs.Runs(tmp_path)
    runs.work("said", asked_runs.TRAINING.replace("epochs = 1", "steps = 2"))
    file = tmp_path / "corpus.txt"
    file.write_text(file.read_text().replace("cat", "cow"))
    with pytest.raises(ValueInRecipeError, match="the data of 'run:said' have changed since it was trained"):
        runs.work("asked", asked_runs.question(QUERIES))
    file.unlink()
    with pytest.raises(ValueInRecipeError, match=r"cannot be read again: .*corpus\.txt"):
        runs.work("again", asked_runs.question(QUERIES))
