"""Instruction tuning: what is kept, told, learned, and answered."""

import itertools
import json
from contextlib import closing

import pytest
import small_tokenizers
import tiny
import torch
from lmwb.core.data.answers import AnswerEncoder, rows_of
from lmwb.core.data.conversations import Conversation, Exchange
from lmwb.core.errors import Stopped, ValueInRecipeError
from lmwb.core.models.loading import make_model
from lmwb.core.recipe.schema import InstructionStage, ScratchModel
from lmwb.core.tasks.registry import task_of
from lmwb.core.tasks.task import Surroundings
from lmwb.core.training.evaluation import evaluate
from lmwb.core.training.objectives.causal import CausalLM
from test_training_stage import Bench, same

QUESTIONS = ["What did the cat do?", "Where is the dog?", "Name an object.", "What came in?"]


def rows(count=40):
    answers = [" ".join(tiny.SENTENCES[j % 6] for j in range(i % 3 + 1)) for i in range(count)]
    return [{"text": f"### Human: {QUESTIONS[i % 4]}### Assistant: {answer}"} for i, answer in enumerate(answers)]


def written(folder, content):
    path = folder / "talk.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in content))
    return str(path)


def stage(source, **changes):
    document = {
        "objective": "instruction-tuning",
        "model": {"type": "gpt2", "config": {"n_layer": 1, "n_head": 2, "n_embd": 16, "n_positions": 128}},
        "tokenizer": {"kind": "bpe", "vocab_size": 320, "min_frequency": 1},
        "data": {"train": source, "block_size": 128},
        "train": {"steps": 8, "batch_size": 4, "lr": 1e-2},
        "sample": {},
    }
    for key, value in changes.items():
        table, _, name = key.partition("__")
        document[table] = {**document[table], name: value} if name else value
    return InstructionStage.model_validate(document)


def read(folder, content, saved=None, **changes):
    """The task, what it made, and what it told."""
    told = []
    task = task_of(stage(written(folder, content), **changes), Surroundings(0, folder, told.append, saved))
    return task, task.read(), told


def with_template(folder, template=small_tokenizers.CHATML):
    """A folder with a tokenizer that has a chat template."""
    small_tokenizers.chat(template).save_pretrained(folder / "tokenizer")
    return {"from": str(folder / "tokenizer")}


# -- what is kept and told ----------------------------------------------------------------------------


def test_what_is_learned_stands_between_marks(tmp_path):
    task, material, told = read(tmp_path, rows())
    assert task.example(0).startswith("### Human: ")
    assert "### Assistant:⟦ " in task.example(0)
    assert task.example(0).endswith(".<|endoftext|>⟧")
    assert material.counts["examples"] == {"train": 38, "validation": 2, "test": 0}
    assert material.details["end_of_turn"] == {"<|endoftext|>": 38}
    assert "end of turn: answers end with '<|endoftext|>', which is learned" in told


def test_nothing_is_left_out_in_silence(tmp_path):
    broken = rows(30)
    broken[4] = {"text": "### Human: and then?"}
    broken[7] = {"text": "### Human: and then?### Assistant:  "}
    broken[9] = {"text": "no marks"}
    broken[20] = {"text": "### Human: a### Assistant: " + "the cat " * 200}
    _, material, told = read(tmp_path, broken, data__too_long="drop")
    assert "data.train: 3 examples with nothing to learn left out: rows 5, 8, 10" in told
    assert "data.train: 1 example longer than 128 tokens left out: row 21" in told
    assert material.details["rows"]["train"] == {"unlearned": [5, 8, 10], "too_long": [21], "blank": [8]}
    assert material.counts["examples"]["train"] + material.counts["examples"]["validation"] == 26


def test_a_cut_example_does_not_learn_to_end_there(tmp_path):
    task, material, told = read(
        tmp_path, [{"text": "### Human: a### Assistant: " + "the cat " * 200}] * 4, data__too_long="truncate"
    )
    assert len(material.train.collate([0], 0).targets[0]) == 127
    assert "data.train: 4 examples cut to 128 tokens, without the end of the answer: rows 1, 2, 3, 4" in told
    assert "end of turn: no special token ends the answers, so the model does not learn where to stop" in told
    assert "<|endoftext|>" not in task.example(0)


def test_one_in_a_hundred_may_be_too_long(tmp_path):
    content = rows(100)
    content[50] = {"text": "### Human: a### Assistant: " + "the cat " * 200}
    _, _, told = read(tmp_path, content)
    assert "data.train: 1 example longer than 128 tokens left out: row 51" in told
    content[60] = content[50]
    with pytest.raises(
        ValueInRecipeError, match=r"2 of 100 examples \(2.0%\) are longer.*rows 51, 61; raise"
    ) as caught:
        read(tmp_path, content)
    assert caught.value.key == "data.too_long"
    with pytest.raises(ValueInRecipeError, match=r"1 of 100 examples"):
        read(tmp_path, [*content[:60], *rows(40)], data__too_long="error")


@pytest.mark.parametrize(
    ("content", "changes", "sentence"),
    [
        (
            [{"text": "### Frage: a ### Antwort: b"}] * 7,
            {},
            r"no example is left.*: 7 examples .*: rows 1, 2, 3, 4, 5 and 2 more. Row 1 reads: ### Frage: a ###",
        ),
        (
            [{"text": "### Human:" + " the cat" * 200 + "### Assistant: b"}] * 3,
            {"data__too_long": "truncate"},
            r"3 examples with nothing to learn left out",
        ),
        ([{"text": "### Human: a### Assistant: b"}], {}, "too few examples to set a share aside"),
        ([], {}, "talk.jsonl holds no rows"),
        ([{"messages": 1}], {"data__format": "messages"}, "row 1 has int in column 'messages'"),
    ],
)
def test_data_with_nothing_in_them_are_one_sentence(tmp_path, content, changes, sentence):
    with pytest.raises(ValueInRecipeError, match=sentence):
        read(tmp_path, content, tokenizer=with_template(tmp_path), **changes)


def test_a_folder_is_no_table(tmp_path):
    with pytest.raises(ValueInRecipeError, match="is a folder; give a file with columns") as caught:
        task_of(stage(str(tmp_path)), Surroundings(0, tmp_path, print)).read()
    assert caught.value.key == "data.train"


def test_a_block_must_not_be_longer_than_the_model_takes(tmp_path):
    task, material, _ = read(tmp_path, rows(), data__block_size=300)
    model = make_model(task._stage.model, task.head, material.tokenizer, {}, print)
    with pytest.raises(ValueInRecipeError, match="block_size 300 is more than the 128 tokens"):
        task.check_model(model)


def test_a_row_that_writes_the_marks_of_the_template_is_left_out(tmp_path):
    talk = [{"messages": [{"role": "user", "content": q}, {"role": "assistant", "content": "Yes."}]} for q in QUESTIONS]
    talk[2]["messages"][0]["content"] = "Why?<|im_end|>"
    task, material, told = read(tmp_path, talk, tokenizer=with_template(tmp_path), data__format="messages")
    assert any("1 example left out that hold a special token of the chat template" in line for line in told)
    assert material.details["end_of_turn"] == {"<|im_end|>": 2}
    assert task.example(0) == f"<|im_start|>user\n{QUESTIONS[0]}<|im_end|>\n<|im_start|>assistant\n⟦Yes.<|im_end|>⟧"


# -- what is learned ----------------------------------------------------------------------------------


@pytest.mark.parametrize("type_", ["gpt2", "llama"])
def test_packed_and_apart_the_loss_is_the_same(type_):
    """Of the answers alone, by hand from one unpadded text at a time."""
    tokenizer = small_tokenizers.byte_level()
    talk = [
        Conversation(i, (Exchange(q, " " + tiny.SENTENCES[i]), Exchange(" And?", " No.")))
        for i, q in enumerate(QUESTIONS)
    ]
    found = AnswerEncoder(tokenizer, rendered=False).examples(talk)
    fields = {
        "gpt2": {"n_layer": 2, "n_head": 2, "n_embd": 32, "n_positions": 256},
        "llama": {"num_hidden_layers": 2, "num_attention_heads": 2, "hidden_size": 32, "intermediate_size": 64},
    }
    torch.manual_seed(0)
    model = make_model(ScratchModel(type=type_, config=fields[type_]), "causal-lm", tokenizer, {}, print).eval()
    by_hand = 0.0
    for example in found:
        ids = torch.from_numpy(example.ids).long()
        with torch.no_grad():
            logprob = model(input_ids=ids[None]).logits[0].log_softmax(-1)
        by_hand -= sum(float(logprob[i - 1, ids[i]]) for i in range(1, len(ids)) if example.learned[i])
    packed, apart = CausalLM(rows_of(found, 200, True)), CausalLM(rows_of(found, 200, False))
    assert len(packed) < len(apart) == 4
    for objective in (packed, apart):
        with torch.no_grad():
            assert float(tiny.loss_of(model, objective, range(len(objective)))) == pytest.approx(by_hand, rel=1e-5)
        for batch_size in (1, 3, 4):
            figures = evaluate(model, objective, batch_size, torch.device("cpu"))
            weight = sum(int(e.learned.sum()) for e in found)
            assert figures["loss"] == pytest.approx(by_hand / weight, rel=1e-5)


@pytest.mark.parametrize("type_", ["opt", "bloom"])
def test_packing_is_refused_where_texts_would_see_each_other(tmp_path, type_):
    """OPT finds its positions by itself, Bloom has none: in both, a packed text changes what is said of the next."""
    task, material, _ = read(tmp_path, rows(), data__packing=True)
    shape = {"hidden_size": 32, "num_attention_heads": 2, "num_hidden_layers": 2}
    more = {"opt": {"word_embed_proj_dim": 32, "ffn_dim": 64}, "bloom": {}}[type_]
    model = make_model(ScratchModel(type=type_, config=shape | more), "causal-lm", material.tokenizer, {}, print)
    loss = [
        float(tiny.loss_of(model.eval(), CausalLM(found), range(len(found))).detach())
        for found in (task._parts["train"], read(tmp_path, rows())[0]._parts["train"])
    ]
    assert loss[0] != pytest.approx(loss[1], rel=1e-6)
    with pytest.raises(ValueInRecipeError, match=f"see each other: the architecture {type_} does not heed") as caught:
        task.check_model(model)
    assert caught.value.key == "data.packing"


@pytest.mark.parametrize("packing", [False, True])
def test_the_gradient_is_the_same_for_every_split(tmp_path, packing):
    from lmwb.core.training.loop import Loop
    from lmwb.core.training.plan import Plan

    found = []
    for batch_size, accumulation in ((8, 1), (4, 2), (2, 4), (1, 8)):
        task, material, _ = read(
            tmp_path,
            rows(24),
            data__packing=packing,
            data__validation=0.0,
            train={"steps": 1, "batch_size": batch_size, "gradient_accumulation": accumulation, "bucketing": False},
        )
        torch.manual_seed(0)
        model = make_model(task._stage.model, task.head, material.tokenizer, {}, print)
        settings, train = task._stage.train, material.train
        loop = Loop(model.eval(), train, settings, Plan.of(settings, len(train), 0, train.lengths), torch.device("cpu"))
        batches = [train.collate(micro, 0) for micro in loop.plan.micro_batches(1)]
        loop._gradient(batches, sum(batch.weight for batch in batches))
        found.append(torch.cat([weight.grad.flatten() for weight in model.parameters()]))
    for gradient in found[1:]:
        assert (gradient - found[0]).norm() <= 1e-6 * found[0].norm()


@pytest.mark.parametrize("packing", [False, True])
def test_an_interruption_leaves_no_trace(tmp_path, packing):
    def bench(name):
        config = {"n_layer": 1, "n_head": 2, "n_embd": 16, "n_positions": 128, "resid_pdrop": 0.2}
        return Bench(
            tmp_path / name,
            stage(
                written(tmp_path, rows()),
                model={"type": "gpt2", "config": config},
                data__packing=packing,
                train__gradient_accumulation=2,
                train__checkpoint_every=3,
                train__result="last",
                sample={"prompts": ["Where is it?"], "tokens": 4},
            ),
        )

    whole, parted = bench("whole"), bench("parted")
    whole.work()
    for stop in (2, 3):
        with pytest.raises(Stopped):
            parted.work(stop_after=stop)
    parted.work()
    assert same(parted.weights(), whole.weights())


# -- what is answered ---------------------------------------------------------------------------------


def test_prompts_are_answered_before_and_after(tmp_path):
    """Trained on one pair only, the model says it, and stops where the answer ends."""
    content = [{"text": "### Human: Where?\n### Assistant: On the mat."}] * 8
    bench = Bench(
        tmp_path,
        stage(
            written(tmp_path, content),
            train={"steps": 60, "batch_size": 8, "lr": 1e-2, "eval_every": 60},
            sample={"prompts": ["Where?"], "tokens": 30},
        ),
    )
    bench.work()
    with closing(bench.history) as history:
        entries = history.samples(bench.stage_id)
        before, after = (history.sample(entry.id) for entry in entries)
    assert [entry.step for entry in entries] == [0, 60]
    given = after.text(0)[: -len(after.text(after.prompt_length))]
    assert given == "### Human: Where?\n### Assistant:"
    assert after.text(after.prompt_length) == " On the mat."
    assert int(after.ids[-1]) in after.special
    assert before.text(before.prompt_length) != after.text(after.prompt_length)


def test_a_prompt_goes_through_the_template_and_ends_with_its_mark(tmp_path):
    talk = [{"messages": [{"role": "user", "content": "Where?"}, {"role": "assistant", "content": "Here."}]}] * 4
    task, material, _ = read(
        tmp_path, talk, tokenizer=with_template(tmp_path), data__format="messages", sample={"tokens": 20}
    )
    end = material.tokenizer.convert_tokens_to_ids("<|im_end|>")

    class Says(torch.nn.Module):
        """Says a word twice, then ends its turn."""

        def __init__(self):
            super().__init__()
            self.config = type("Config", (), {"max_position_embeddings": 128})()
            self.weight = torch.nn.Parameter(torch.zeros(1))
            self.tokens = itertools.chain([40, 40], itertools.repeat(end))

        def forward(self, input_ids, **_):
            logits = torch.zeros(1, input_ids.shape[1], len(material.tokenizer))
            logits[0, -1, next(self.tokens)] = 9.0
            return type("Output", (), {"logits": logits, "past_key_values": None})()

    trace = task.speak(Says(), "Where?", seed=0)
    assert trace.ids[trace.prompt_length :].tolist() == [40, 40, end]
    assert material.tokenizer.decode(trace.ids[: trace.prompt_length]) == (
        "<|im_start|>user\nWhere?<|im_end|>\n<|im_start|>assistant\n"
    )
