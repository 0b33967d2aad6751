"""The teacher: loaded with the head that the objective needs, checked against the student, and asked."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from ...data.tokenizer import load_tokenizer
from ...errors import ValueInRecipeError
from ...models.loading import HEADS, Head, longest_context, make_model
from ...models.origin import origin_of
from ...recipe.problems import quoted
from ...recipe.schema import PretrainedModel
from ...training.body import between_body_and_head, body_of
from ...training.objectives.causal import CausalLM
from ...training.objectives.choices import MultipleChoice
from ...training.objectives.images import ImageClassification
from ...training.objectives.labels import Classification, Regression
from ...training.objectives.masked import MaskedLM
from ..active import Place

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

HEAD_FOR: dict[type[Any], Head] = {
    CausalLM: "causal-lm",
    MaskedLM: "masked-lm",
    Classification: "classification",
    Regression: "classification",
    MultipleChoice: "multiple-choice",
    ImageClassification: "image-classification",
}
"""By objective, the head that teacher and student have."""

LANGUAGE_MODELS = (CausalLM, MaskedLM)


@dataclass(frozen=True)
class Answers:
    """What a model said of a batch.

    Attributes:
        logits: (rows, labels): of the batch's rows, or of the places asked for.
        states: (batch, longest, width), its body's last; None if it shows none.
    """

    logits: Tensor
    states: Tensor | None


class Teacher:
    """A model that is asked and not trained."""

    def __init__(self, model: nn.Module, with_types: bool):
        """Freezes the model and puts it into evaluation for good; `with_types`: it knows `token_type_ids`."""
        self._model = model.eval().requires_grad_(False)
        self._with_types = with_types

    @torch.no_grad()
    def ask(self, inputs: Mapping[str, Any], places: Tensor | None = None) -> Answers:
        """What the teacher says of a batch; logits only at `places` of the flattened batch, if given."""
        if not self._with_types:
            inputs = {name: value for name, value in inputs.items() if name != "token_type_ids"}
        return ask(self._model, inputs, places)


def ask(model: nn.Module, inputs: Mapping[str, Any], places: Tensor | None) -> Answers:
    """What a model says of a batch: of all its rows, or, for a language model, at places of the flattened batch."""
    if places is None:
        with between_body_and_head(model) as seen:
            logits: Tensor = model(**inputs).logits
        return Answers(logits, seen.states)
    shape = inputs["input_ids"].shape
    everywhere = len(places) == shape.numel()
    with between_body_and_head(model, None if everywhere else places, shape) as seen:
        logits = model(**inputs).logits
    flat = logits.flatten(0, 1)
    return Answers(flat if everywhere or seen.narrowed else flat[places], seen.states)


def load_teacher(source: str, key: str, place: Place, hidden: bool) -> Teacher:
    """The teacher that a recipe names, on the device.

    Args:
        source: a folder or a name on the hub.
        key: the recipe's key that names it, for errors.
        place: with the student and the rows.
        hidden: whether hidden states are compared.

    Raises:
        ValueInRecipeError: it cannot be loaded, was not trained for this, or does not go with the student.
    """
    head = HEAD_FOR.get(type(place.train))
    if head is None:
        raise ValueInRecipeError(key, "distillation knows no way to ask a teacher for this objective")
    notes: list[str] = []
    try:
        with torch.random.fork_rng(devices=[]):  # the student's new weights do not depend on it
            model = make_model(PretrainedModel.model_validate({"from": source}), head, None, {}, notes.append)
    except ValueInRecipeError as error:
        raise ValueInRecipeError(key, str(error)) from None
    if new := sorted(origin_of(model).new):
        raise ValueInRecipeError(
            key,
            f"{quoted(source)} is no {HEADS[head][2]}: it has no weights for {', '.join(new[:3])}; train it for the "
            "objective first, as a stage of its own",
        )
    for note in notes:
        place.tell(f"teacher: {note}")
    _Pair(source, key, model, place).check(head, hidden)
    place.tell(f"teacher: {quoted(source)}, {sum(weight.numel() for weight in model.parameters()):,} weights")
    return Teacher(cast("nn.Module", model).to(place.device), _knows_types(model))


def _knows_types(model: "PreTrainedModel") -> bool:
    """Whether a model tells the texts of a pair apart by `token_type_ids`."""
    return getattr(model.config, "type_vocab_size", 0) > 1


class _Pair:
    """A teacher and its student, to be checked."""

    def __init__(self, source: str, key: str, teacher: "PreTrainedModel", place: Place):
        self._name = quoted(source)
        self._source = source
        self._key = key
        self._teacher = teacher
        self._student = place.model
        self._place = place

    def check(self, head: Head, hidden: bool) -> None:
        if head != "image-classification":
            self._one_vocabulary(head)
            self._room()
            if head in ("classification", "multiple-choice") and _knows_types(self._student) != _knows_types(
                self._teacher
            ):
                self._place.tell("teacher: student and teacher do not both heed which text of a pair a token is in")
        if head in ("classification", "image-classification"):
            self._labels()
        if hidden:
            self._states()

    def _refuse(self, sentence: str, key: str | None = None) -> ValueInRecipeError:
        return ValueInRecipeError(key or self._key, sentence)

    def _one_vocabulary(self, head: Head) -> None:
        theirs, ours = (int(model.config.vocab_size) for model in (self._teacher, self._student))
        if head in ("causal-lm", "masked-lm") and theirs != ours:
            raise self._refuse(
                f"{self._name} has logits for {theirs:,} tokens, the student for {ours:,}; they need one vocabulary"
            )
        tokenizer = self._place.tokenizer
        if tokenizer is None:
            return
        try:
            known = load_tokenizer(self._source, self._key).get_vocab()
        except ValueInRecipeError:
            self._place.tell(f"teacher: {self._name} has no tokenizer, so its vocabulary was not compared")
            return
        self._compare(known, tokenizer)

    def _compare(self, known: Mapping[str, int], tokenizer: "PreTrainedTokenizerBase") -> None:
        vocabulary = tokenizer.get_vocab()
        other = [token for token, number in vocabulary.items() if known.get(token) != number]
        if other:
            token = min(other, key=vocabulary.__getitem__)
            there = known.get(token)
            does = "does not know it" if there is None else f"calls it {there}"
            raise self._refuse(
                f"they need one vocabulary: token {vocabulary[token]} is {quoted(token)} to the student, "
                f"{self._name} {does}; {len(other):,} of {len(vocabulary):,} tokens differ"
            )

    def _room(self) -> None:
        longest = longest_context(self._teacher)
        rows = int(self._place.train.lengths.max(initial=0))
        if isinstance(self._place.train, CausalLM):
            rows -= 1  # the last token is only predicted
        elif isinstance(self._place.train, MultipleChoice):
            rows = int(self._place.train.questions.rows.lengths.max(initial=0))
        if longest is not None and rows > longest:
            raise self._refuse(f"a row has {rows} tokens, {self._name} takes {longest}; shorten the rows")

    def _labels(self) -> None:
        theirs, ours = self._teacher.config, self._student.config
        if theirs.num_labels != ours.num_labels:
            raise self._refuse(f"{self._name} tells {theirs.num_labels} labels apart, the student {ours.num_labels}")
        names = [[str(name) for _, name in sorted((each.id2label or {}).items())] for each in (theirs, ours)]
        if any(name.startswith("LABEL_") for each in names for name in each) or names[0] == names[1]:
            return
        shown = [", ".join(map(quoted, each[:8])) for each in names]
        if {name.lower() for name in names[0]} & {name.lower() for name in names[1]}:
            raise self._refuse(
                f"{self._name} calls the labels {shown[0]}, the data {shown[1]}, in this order; give the data's "
                "'labels' in the teacher's order"
            )
        self._place.tell(f"teacher: what it calls {shown[0]} is here {shown[1]}")

    def _states(self) -> None:
        key = self._key.replace("teacher", "cosine")
        for who, model in (("the student", self._student), (self._name, self._teacher)):
            if body_of(cast("nn.Module", model)) is None:
                raise self._refuse(
                    f"{who} shows no body apart from its head, so no hidden states can be compared; set cosine = 0",
                    key,
                )
        theirs, ours = (int(model.config.hidden_size) for model in (self._teacher, self._student))
        if theirs != ours:
            raise self._refuse(
                f"hidden states of {self._name} have {theirs} numbers, the student's {ours}; set cosine = 0", key
            )
