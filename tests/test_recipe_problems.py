"""Bad recipes, and the exact sentences that their writers get to read."""

import os
import tomllib
from pathlib import Path

import pytest
from lmwb.core.errors import RecipeError
from lmwb.core.recipe import load, schema

TOP = 'name = "x"\nmodel = { from = "hub/model" }\n'
HEAD = TOP + 'data = { train = "texts.txt" }\n'
STAGES = 'name = "x"\n[[stage]]\nname = "one"\nmodel = { from = "m" }\ndata = { train = "texts.txt" }\n'

FROM = "in [method] or in [tokenizer] or in [model]"
TOP_KEYS = (
    "known keys: data, defaults, description, device, jobs, kind, log, method, model, name, objective, processes, "
    "sample, seed, seeds, sweep, tokenizer, train"
)

_KINDS = list(dict.fromkeys(f"'{each.model_fields['kind'].default}'" for each in schema.STAGES))
KINDS = f"{', '.join(_KINDS[:-1])} or {_KINDS[-1]}"
TOKENIZERS = "'pretrained', 'bpe', 'wordpiece', 'unigram' or 'words'"

BAD = {
    # typing errors in keys
    "typo": (HEAD + "train = { gradient_acumulation = 2 }",
             ["4: unknown key 'gradient_acumulation' in [train]; did you mean 'gradient_accumulation'?"]),
    "typo at the top": (HEAD + 'desciption = "a"', ["4: unknown key 'desciption'; did you mean 'description'?"]),
    "typo in a table's name": (TOP + '[dta]\ntrain = "texts.txt"', ["3: unknown key 'dta'; did you mean 'data'?"]),
    "typo in a dotted key": (HEAD + "train.lrr = 1", ["4: unknown key 'lrr' in [train]; did you mean 'lr'?"]),
    "wrong case": (HEAD + "train.Batch-Size = 1",
                   ["4: unknown key 'Batch-Size' in [train]; did you mean 'batch_size'?"]),
    "typo in a kind of table": ('name = "x"\nmodel = { typ = "gpt2" }\ndata = { train = "texts.txt" }',
                                ["2: unknown key 'typ' in [model]; did you mean 'type'?"]),
    "another program's word": (HEAD + "[train]\nlearning_rate = 1\nmax_grad_norm = 1",
                               ["5: unknown key 'learning_rate' in [train]; did you mean 'lr'?",
                                "6: unknown key 'max_grad_norm' in [train]; did you mean 'clip'?"]),
    "another program's word in another table": (
        HEAD + "[sample]\nlearning_rate = 1",
        ["5: unknown key 'learning_rate' in [sample]; did you mean 'lr' in [train]?"]),
    "nothing like it, short table": (
        HEAD + "[sample]\nzzz = 1",
        ["5: unknown key 'zzz' in [sample]; known keys: alternatives, every, prompts, temperature, tokens, top_k"]),
    "nothing like it, long table": (HEAD + "[train]\nzzz = 1",
                                    ["5: unknown key 'zzz' in [train]; `lmwb schema` lists all keys"]),
    "typo in a stage": (STAGES + "[stage.train]\nlrr = 1",
                        ["7: unknown key 'lrr' in [stage.train]; did you mean 'lr'?"]),
    # keys in the wrong place
    "key of another table": (TOP + '[data]\ntrain = "texts.txt"\nlr = 1',
                             ["5: unknown key 'lr' in [data]; it belongs in [train]"]),
    "key of a table at the top": (HEAD + "lr = 1", ["4: unknown key 'lr'; it belongs in [train]"]),
    "key of the top in a table": (HEAD + "[train]\nseed = 1",
                                  ["5: unknown key 'seed' in [train]; it belongs at the top"]),
    "table in a table": (HEAD + "[train.sample]\ntokens = 1",
                         ["4: unknown key 'sample' in [train]; it belongs at the top"]),
    "key of several tables": (TOP + 'data = { train = "texts.txt", from = "m" }',
                              [f"3: unknown key 'from' in [data]; it belongs {FROM}"]),
    "key of the other kind": ('name = "x"\nmodel = { from = "m", config = {} }\ndata.train = "texts.txt"',
                              ["2: unknown key 'config' in [model]; it belongs to kind 'scratch'"]),
    "key of a table in a stage": (STAGES + "lr = 1",
                                  ["6: unknown key 'lr' in [[stage]]; it belongs in [stage.train]"]),
    "key of the recipe in a stage": (STAGES + "seed = 1",
                                     ["6: unknown key 'seed' in [[stage]]; it belongs at the top"]),
    "both forms": ('train = { lr = 1 }\n' + STAGES,
                   ["1: 'train' stands at the top, but the recipe has [[stage]] tables; move it into one"]),
    "one bracket": (STAGES.replace("[[stage]]", "[stage]"),
                    ["2: stages are a list; write [[stage]], with two brackets"]),
    # missing
    "missing key": (TOP + "[data]\nvalidation = 0.1", ["3: missing key 'train' in [data]"]),
    "missing name": ('model = { from = "m" }\ndata.train = "texts.txt"', ["1: missing key 'name'"]),
    "missing table": (TOP, ["1: missing table [data]"]),
    "missing in a stage": (STAGES + '[[stage]]\nname = "two"\nmodel = { from = "m" }\n[stage.data]',
                           ["9: missing key 'train' in [stage.data]"]),
    "a name alone": ('name = "x"', ["1: missing table [data]", "1: missing table [model]"]),
    "no stage": ('name = "x"\nstage = []', ["2: 'stage' must not be empty"]),
    # types
    "text for a number": (HEAD + 'train.lr = "fast"', ["4: 'lr' must be a number, not the text 'fast'"]),
    "number for a text": ("name = 7\n" + HEAD.partition("\n")[2], ["1: 'name' must be text, not 7"]),
    "fraction for a whole number": (HEAD + "train.steps = 1.5", ["4: 'steps' must be a whole number, not 1.5"]),
    "truth for a whole number": (HEAD + "train.steps = true", ["4: 'steps' must be a whole number, not true"]),
    "text for truth": (HEAD + 'train.compile = "yes"', ["4: 'compile' must be true or false, not the text 'yes'"]),
    "number for truth": (HEAD + "train.compile = 1", ["4: 'compile' must be true or false, not 1"]),
    "text for a list": (HEAD + 'sample.prompts = "Once"', ["4: 'prompts' must be a list, not the text 'Once'"]),
    "wrong entry in a list": (HEAD + 'sample.prompts = [\n "a",\n 3]', ["4: entry 2 of 'prompts' must be text, not 3"]),
    "date": (HEAD + "train.lr = 2026-01-01", ["4: 'lr' must be a number, not a date or time"]),
    "table for a number": (HEAD + "train.lr = { peak = 1 }", ["4: 'lr' must be a number, not a table"]),
    "text for a table": (HEAD + 'train = "fast"', ["4: 'train' must be a table, not the text 'fast'"]),
    "model without table": ('name = "x"\nmodel = "gpt2"\ndata.train = "texts.txt"',
                            ["2: 'model' must be a table, not the text 'gpt2'; write model = { from = \"gpt2\" }"]),
    "text or number": (TOP + 'data = { train = "texts.txt", validation = true }',
                       ["3: 'validation' must be text or a number, not true"]),
    "stage that is none": ('name = "x"\nstage = [1]', ["2: stage 1 must be a table, not 1"]),
    # ranges, lengths, forms
    "too small": (HEAD + "train.epochs = 0", ["4: 'epochs' must be greater than 0, not 0"]),
    "below the least": (HEAD + "train.batch_size = 0", ["4: 'batch_size' must be at least 1, not 0"]),
    "too large": (TOP + 'data = { train = "texts.txt", validation = 1.5 }',
                  ["3: 'validation' must be less than 1, not 1.5"]),
    "above the most": (HEAD + "sample.alternatives = 51", ["4: 'alternatives' must be at most 50, not 51"]),
    "infinite": (HEAD + "train.weight_decay = inf", ["4: 'weight_decay' must be a finite number, not inf"]),
    "not a number": (HEAD + "train.lr = nan", ["4: 'lr' must be a finite number, not nan"]),
    "enormous": (HEAD + f"seed = {2**63}", [f"4: 'seed' must be less than {2**63}, not {2**63}"]),
    "one of two": (HEAD + "train.betas = [0.9]", ["4: 'betas' must have 2 entries, not 1"]),
    "three of two": (HEAD + "train.betas = [0.9, 0.9, 0.9]", ["4: 'betas' must have 2 entries, not 3"]),
    "entry out of range": (HEAD + "train.betas = [0.9, 2]", ["4: entry 2 of 'betas' must be less than 1, not 2"]),
    "empty name": ('name = ""\n' + HEAD.partition("\n")[2], ["1: 'name' must not be empty"]),
    "long name": (f'name = "{"x" * 121}"\n' + HEAD.partition("\n")[2],
                  ["1: 'name' must have at most 120 characters, not 121"]),
    "odd stage name": (STAGES.replace('"one"', '"a/b"'),
                       ["3: 'name' must be letters, digits, '_', '.' and '-', a letter or digit first, not 'a/b'"]),
    "odd device": (HEAD + 'device = "gpu"',
                   ["4: 'device' must be 'auto', 'cpu', 'mps', 'cuda' or 'cuda:1', not 'gpu'"]),
    # choices
    "wrong choice": (HEAD + 'train.optimizer = "adam"',
                     ["4: 'optimizer' must be 'adamw' or 'sgd', not 'adam'; did you mean 'adamw'?"]),
    "no choice at all": (HEAD + "train.precision = 16", ["4: 'precision' must be 'fp32', 'bf16' or 'fp16', not 16"]),
    "wrong kind of table": (HEAD + 'tokenizer = { kind = "bp" }',
                            [f"4: 'kind' must be {TOKENIZERS}, not 'bp'; did you mean 'bpe'?"]),
    "wrong kind of stage": (HEAD + 'kind = "dance"', [f"4: 'kind' must be {KINDS}, not 'dance'"]),
    # rules between keys
    "two lengths": (HEAD + "[train]\nepochs = 1\nsteps = 1", ["6: give 'epochs' or 'steps', not both"]),
    "scratch without tokenizer": (
        'name = "x"\ndata.train = "texts.txt"\nmodel.type = "gpt2"',
        ['3: a model from scratch needs a tokenizer; add tokenizer = { kind = "bpe" } or { from = "..." }']),
    "new tokenizer for a pretrained model": (
        HEAD + "[tokenizer]\nvocab_size = 300",
        ["4: a pretrained model needs the tokenizer that it was trained with; leave 'tokenizer' out"]),
    "same name twice": (STAGES + STAGES.partition("\n")[2],
                        ["2: two stages are called 'one'; give each a 'name' of its own"]),
    "rule beside other errors": (HEAD + "[train]\nepochs = 1\nsteps = 1\nlrr = 1",
                                 ["6: give 'epochs' or 'steps', not both",
                                  "7: unknown key 'lrr' in [train]; did you mean 'lr'?"]),
    # files
    "missing file": (TOP + 'data = { train = "nope.txt", test = "gone.csv" }',
                     ["3: data.test: no such file '{here}/gone.csv'", "3: data.train: no such file '{here}/nope.txt'"]),
    "empty file": (TOP + 'data.train = "empty.txt"', ["3: data.train: '{here}/empty.txt' is empty"]),
    "empty folder": (TOP + 'data.train = "folder"', ["3: data.train: '{here}/folder' is empty"]),
    "empty text": (TOP + 'data.train = ""', ["3: 'train' must not be empty"]),
    "missing model": ('name = "x"\nmodel.from = "./m"\ndata.train = "texts.txt"',
                      ["2: model.from: no such folder '{here}/m'"]),
    "model that is a file": ('name = "x"\nmodel.from = "./texts.txt"\ndata.train = "texts.txt"',
                             ["2: model.from: '{here}/texts.txt' is not a folder"]),
    "escape codes in a path": (TOP + 'data.train = "\\u001b[2J"', ["3: data.train: no such file '{here}/␛[2J'"]),
    "null in a path": (TOP + 'data.train = "\\u0000"', ["3: data.train: cannot read '{here}/␀': embedded null byte"]),
    # TOML
    "value without quotes": (HEAD + "device = gpu", ["4: no value can start with 'gpu'; texts need quotes"]),
    "Python's truth": (HEAD + "train.compile = True", ["4: write 'true', not 'True'"]),
    "no value": (HEAD + "seed =", ["4: a value is missing"]),
    "no TOML": (HEAD + "train hard", ["4: 'train hard' is neither key = value nor [table]"]),
    "twice": (HEAD + "seed = 1\nseed = 2", ["5: 'seed' is given twice"]),
    "table twice": (HEAD + "[train]\nlr = 1\n[train]\nsteps = 1", ["6: table [train] is given twice"]),
    "key twice in an inline table": (HEAD + "train = { lr = 1, lr = 2 }", ["4: 'train' is given twice"]),
    "open quote": (HEAD + 'device = "cpu', ["4: a text or list is not closed in 'device = \"cpu'"]),
    "open bracket": (TOP + 'sample.prompts = [\n"a",\n"b"\ndata.train = "texts.txt"\n',
                     ["3: what begins with 'sample.prompts = [' is never closed"]),
    "open header": (HEAD + "[train\nlrr = 1\n[sample]\ntokens = 0",
                    ["4: '[train' is no valid TOML: expected ']' at the end of a table declaration",
                     "7: 'tokens' must be at least 1, not 0"]),
    "more behind the value": (HEAD + "train.betas = 0.9, 0.99",
                              ["4: ', 0.99' is too much after the value; texts need quotes, lists need brackets"]),
    "several errors of all sorts": (
        HEAD + "seed = yes\n\n[train]\nlr = fast\nstep = 3\nepochs = -1\n",
        ["4: write 'true', not 'yes'", "7: no value can start with 'fast'; texts need quotes",
         "8: unknown key 'step' in [train]; did you mean 'steps'?", "9: 'epochs' must be greater than 0, not -1"]),
    "nested without end": ("x = " + "[" * 5000, ["1: lists or tables are nested too deeply"]),
    "escape codes in a key": (HEAD + '"\\u001b[31m" = 1', [f"4: unknown key '␛[31m'; {TOP_KEYS}"]),
}  # fmt: skip

OVERRIDES = {
    "typo": (["train.lrr=1"], ["--set train.lrr=1: unknown key 'lrr' in [train]; did you mean 'lr'?"]),
    "typo in a table": (["trian.lr=1"], ["--set trian.lr=1: unknown key 'trian'; did you mean 'train'?"]),
    "type": (["train.lr=fast"], ["--set train.lr=fast: 'lr' must be a number, not the text 'fast'"]),
    "range": (["train.epochs=0"], ["--set train.epochs=0: 'epochs' must be greater than 0, not 0"]),
    "no value": (["train.lr"], ["--set train.lr: is not of the form key=value, such as train.lr=3e-4"]),
    "no key": (["=1"], ["--set =1: the key before the '=' is missing"]),
    "no good key": (["a b=1"], ["--set a b=1: 'a b' is no key; keys are joined by dots, such as train.lr"]),
    "two keys": (["a=1\nb=1"], [f"--set a=1␊b=1: unknown key 'a'; {TOP_KEYS}"]),
    "open list": (["sample.prompts=[1"],
                  ["--set sample.prompts=[1: '[1' is no TOML value; something is not closed or has no quotes"]),
    "file": (["data.train=no.txt"], ["--set data.train=no.txt: data.train: no such file '{here}/no.txt'"]),
    "below a number": (["seed.x=1", "seed=0"], ["--set seed.x=1: 'seed' is 0, not a table"]),
    "beyond a list": (["sample.prompts.1=x"],
                      ["--set sample.prompts.1=x: there is no entry '1' in 'prompts', which has 1, counted from 0"]),
    "no such stage": (["stage.two.train.lr=1"],
                      ["--set stage.two.train.lr=1: there is no stage 'two'; the recipe has 'train'"]),
    "nothing to take out": (["test="], ["--set test=: there is no 'test' to take out"]),
    "kind": (["tokenizer.kind=bp"],
             [f"--set tokenizer.kind=bp: 'kind' must be {TOKENIZERS}, not 'bp'; did you mean 'bpe'?"]),
    "both lengths": (["train.steps=1", "train.epochs=1"],
                     ["--set train.steps=1: give 'epochs' or 'steps', not both"]),
    "taken out and needed": (["data="], ["1: missing table [data]"]),
    "not UTF-8": (["name=\udcff"], ["--set name=<U+DCFF>: is not UTF-8"]),
    "several": (["train.lrr=1", "x"],
                ["--set x: is not of the form key=value, such as train.lr=3e-4",
                 "--set train.lrr=1: unknown key 'lrr' in [train]; did you mean 'lr'?"]),
}  # fmt: skip


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "texts.txt").write_text("a text")
    (tmp_path / "empty.txt").touch()
    (tmp_path / "folder").mkdir()
    return tmp_path


def problems(text: str, *overrides: str) -> list[str]:
    Path("recipe.toml").write_text(text)
    with pytest.raises(RecipeError) as caught:
        load(Path("recipe.toml"), overrides)
    return list(caught.value.problems)


def expected(sentences: list[str], here: Path) -> list[str]:
    told = [sentence.replace("{here}", str(here)) for sentence in sentences]
    return [sentence if sentence.startswith("--set") else f"recipe.toml:{sentence}" for sentence in told]


@pytest.mark.parametrize("case", BAD)
def test_a_bad_recipe_is_told_with_line_key_and_advice(case: str, here: Path):
    text, sentences = BAD[case]
    assert problems(text) == expected(sentences, here)


@pytest.mark.parametrize("case", OVERRIDES)
def test_a_bad_override_is_told_with_its_argument(case: str, here: Path):
    arguments, sentences = OVERRIDES[case]
    text = HEAD + 'seed = 0\nsample.prompts = ["a"]\n'
    assert problems(text, *arguments) == expected(sentences, here)


def test_an_override_for_one_of_several_stages_must_name_it(here: Path):
    text = STAGES + STAGES.partition("\n")[2].replace("one", "two")
    assert problems(text, "train.lr=1") == [
        "--set train.lr=1: the recipe has 2 stages; say stage.one.train.lr or stage.two.train.lr"
    ]
    assert problems(text, "stage.two.train.lrr=1") == [
        "--set stage.two.train.lrr=1: unknown key 'lrr' in [stage.train]; did you mean 'lr'?"
    ]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "recipe.toml: is empty; a recipe needs at least a name, a model and data"),
        (b"# nothing\n", "recipe.toml: is empty; a recipe needs at least a name, a model and data"),
        (b'name = "x"\nd = "\xe9"', "recipe.toml:2: is not UTF-8 text"),
        (b"\x7fELF\0\0", "recipe.toml: is not a recipe but a large or binary file"),
    ],
)
def test_a_file_that_is_no_recipe_is_refused(content: bytes, sentence: str, here: Path):
    Path("recipe.toml").write_bytes(content)
    with pytest.raises(RecipeError) as caught:
        load(Path("recipe.toml"))
    assert caught.value.problems == (sentence,)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [("gone.toml", "gone.toml: no such file"), ("folder", "folder: is a folder, not a recipe")],
)
def test_a_path_that_is_no_file_is_refused(name: str, sentence: str, here: Path):
    with pytest.raises(RecipeError) as caught:
        load(Path(name))
    assert caught.value.problems == (sentence,)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_refused(here: Path):
    Path("recipe.toml").write_text(HEAD)
    Path("recipe.toml").chmod(0)
    with pytest.raises(RecipeError, match="cannot be read: Permission denied"):
        load(Path("recipe.toml"))


def test_the_validations_own_words_never_show(here: Path):
    for text, _ in BAD.values():
        told = "\n".join(problems(text))
        assert not any(
            word in told for word in ("Input should", "Extra inputs", "Field required", "pydantic", "a valid")
        )


def test_many_errors_in_a_long_recipe_cost_no_more_than_reading_it_again(here: Path, monkeypatch: pytest.MonkeyPatch):
    stage = (
        '[[stage]]\nname = "s{}"\nmodel = {{ form = "m" }}\n[stage.data]\ntrain = "no.txt"\n[stage.train]\nlrr = 1\n'
    )
    text = 'name = "x"\n' + "".join(stage.format(number) for number in range(43))
    parsed: list[int] = []
    real = tomllib.loads
    monkeypatch.setattr(tomllib, "loads", lambda part: parsed.append(len(part)) or real(part))
    assert len(problems(text)) == 3 * 43
    assert sum(parsed) <= 2 * len(text)
