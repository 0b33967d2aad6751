"""Contexts drawn from articles: which there are, how they are drawn, and what a stage makes of them."""

import json
from collections import Counter

import numpy as np
import pytest
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st
from lmwb.core.data.crops import Crops
from lmwb.core.data.sources import read_documents
from lmwb.core.errors import ValueInRecipeError
from lmwb.core.recipe.schema import Train
from lmwb.core.tasks.causal import crops_of
from lmwb.core.training.crops import CropPlan, Draws
from lmwb.core.training.objectives.causal import CausalLM


def articles(*sizes):
    firsts = np.cumsum([0, *sizes])
    return [np.arange(first, first + size, dtype=np.int32) for first, size in zip(firsts, sizes, strict=False)]


@given(sizes=st.lists(st.integers(1, 12), min_size=1), length=st.integers(1, 6), stride=st.sampled_from([1, 3]))
def test_rows_are_all_contexts_within_one_article_the_last_included(sizes, length, stride):
    expected = [
        [*ids[start : start + length].tolist()]
        for ids in articles(*sizes)
        for start in range(0, len(ids) - length + 1, stride)
    ]
    crops = Crops(articles(*sizes), length, stride)
    assert [crops.tokens(row).tolist() for row in range(len(crops))] == expected
    assert crops.left_out == sum(size < length for size in sizes)
    places = [(each[0], crops.place(row)) for row, each in enumerate(expected)]
    assert all(crops.stream[crops.firsts[article] + start] == first for first, (article, start) in places)


def test_short_articles_are_left_out_and_others_told_apart_by_their_texts():
    crops = Crops(articles(5, 9, 4), 4, at_least=5)
    assert (crops.left_out, len(crops), crops.end_to_end) == (1, 2 + 6, 1 + 2)
    assert crops.articles == Crops(articles(5, 9), 3).articles
    assert len(set(crops.articles)) == 2


def test_articles_are_drawn_first_and_then_starts_the_last_one_too():
    """Three starts in one article, one in the other: each start of the first is drawn a sixth of the time."""
    drawn = Counter(Draws(Crops(articles(6, 4), 4), seed=3).rows(0, 6000))
    assert set(drawn) == {0, 1, 2, 3}
    assert drawn[3] == pytest.approx(3000, abs=150)
    assert all(drawn[row] == pytest.approx(1000, abs=120) for row in (0, 1, 2))


def test_draws_depend_on_nothing_but_seed_and_number():
    crops = Crops(articles(50, 70, 20), 8)
    draws = Draws(crops, seed=1)
    assert draws.rows(1000, 1100) == Draws(crops, seed=1).rows(0, 1100)[1000:]
    assert draws.rows(0, 50) != Draws(crops, seed=2).rows(0, 50)
    assert draws.rows(0, 50) != Draws(crops, 1, "decoys").rows(0, 50)

    def order(batch, accumulation, steps):
        plan = CropPlan(crops, Train(batch_size=batch, gradient_accumulation=accumulation, steps=steps), 1)
        return [row for step in range(1, steps + 1) for micro in plan.micro_batches(step) for row in micro]

    assert order(4, 1, 6) == order(2, 2, 6) == order(12, 1, 2) == draws.rows(0, 24)


def test_an_epoch_is_as_many_contexts_as_fit_end_to_end():
    plan = CropPlan(Crops(articles(50, 70, 20), 8), Train(batch_size=4, epochs=2), 0)
    assert plan.total == 8  # 6 + 8 + 2 contexts, 4 to a step, twice
    assert all(len(plan.micro_batches(step)[0]) == 4 for step in range(1, 10))


def test_the_objective_predicts_every_token_of_a_context_but_the_first():
    crops = Crops(articles(6), 4)
    batch = CausalLM(crops).collate([2, 0], 0)
    assert batch.inputs["input_ids"].tolist() == [[2, 3, 4], [0, 1, 2]]
    assert batch.targets.tolist() == [[3, 4, 5], [1, 2, 3]]
    assert batch.weight == 6


def test_articles_begin_at_headings_of_the_highest_level(tmp_path):
    first = " = Robert Boulter = \n \n An actor . \n \n = = Career = = \n \n On stage . \n \n"
    text = f" \n{first} = Du Fu = \n \n A poet . \n"
    path = tmp_path / "wiki.txt"
    path.write_text(text)
    found = read_documents(str(path), "text", "article")
    assert [document.split("\n")[0] for document in found] == [" = Robert Boulter = ", " = Du Fu = "]
    assert "= = Career = =" in found[0]
    assert "".join(found) == text.removeprefix(" \n")
    table = tmp_path / "wiki.jsonl"
    table.write_text("".join(json.dumps({"text": f"{line}\n"}) + "\n" for line in text.splitlines()))
    assert [each.strip() for each in read_documents(str(table), "text", "article")] == [each.strip() for each in found]


def test_too_short_texts_are_refused_by_their_key():
    data = tiny.stage(data__packing="crops", data__min_tokens=30).data
    with pytest.raises(ValueInRecipeError, match="no document has 30 tokens") as caught:
        crops_of(articles(20, 29), data, "data.train", print)
    assert caught.value.key == "data.train"
    assert len(crops_of(articles(20, 29), data, "data.test", print)) == 2


def test_a_stage_trains_on_crops_and_measures_end_to_end(tmp_path):
    from test_training_stage import Bench

    stage = tiny.stage(data__packing="crops", data__min_tokens=100)
    bench = Bench(tmp_path, stage)
    results = bench.work()
    assert results["tokens"] == 6 * 4 * 15
    assert torch.isfinite(torch.tensor(results["validation"]["loss"]))
