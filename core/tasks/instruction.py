"""Instruction tuning: causal language modelling of conversations, of which only the answers are learned."""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

from torch import nn

from ..data.answers import AnswerEncoder, Example, rows_of
from ..data.chat import ChatTemplate
from ..data.conversations import Conversation, Messages, plain, read_conversations, read_messages, wrap
from ..data.rows import Rows
from ..data.selection import Account, select
from ..data.sources import SourceError, read_table
from ..data.split import set_rows_aside
from ..data.tokenizer import token_pieces
from ..decoding.sampling import complete
from ..errors import ValueInRecipeError
from ..models.loading import Head
from ..recipe.schema import InstructionStage
from ..text import printable
from ..training.objectives.causal import CausalLM
from .fitting import check_fit, check_packing
from .task import LEARNED, Material, Surroundings
from .tokenizers import make_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from ..tokens import TokenTrace


class InstructionTask:
    """Conversations; the loss is that of the answers and of the tokens that end them."""

    head: ClassVar[Head] = "causal-lm"

    def __init__(self, stage: InstructionStage, surroundings: Surroundings):
        """Nothing is read yet."""
        self._stage = stage
        self._around = surroundings
        self._conversations: list[Conversation] = []
        self._parts: dict[str, Rows] = {}
        self._ends: Counter[int] = Counter()
        self._tokenizer: PreTrainedTokenizerBase

    def read(self) -> Material:
        """Read the tables, find the answers, arrange the rows."""
        data, tell = self._stage.data, self._around.tell
        sources = {"train": data.train, "test": data.test}
        if isinstance(data.validation, str):
            sources["validation"] = data.validation
        read = {part: self._read(source, part) for part, source in sources.items() if source is not None}
        self._tokenizer = make_tokenizer(self._stage, lambda: _texts(read["train"]), self._around)
        tell(f"tokenizer: {len(self._tokenizer):,} tokens")
        chosen: dict[str, list[Example]] = {}
        accounts: dict[str, Account] = {}
        for part, found in read.items():
            chosen[part], accounts[part] = self._choose(found, part)
        if not isinstance(data.validation, str) and data.validation:
            chosen["train"], chosen["validation"] = self._set_aside(chosen["train"], data.validation)
        self._parts = {part: rows_of(found, data.block_size, data.packing) for part, found in chosen.items()}
        self._ends = self._count_ends(chosen["train"])
        self._tell_what_is_learned(len(chosen["train"]))
        return Material(
            tokenizer=self._tokenizer,
            train=CausalLM(self._parts["train"]),
            validation=self._objective("validation"),
            test=self._objective("test"),
            counts={
                "examples": {part: len(chosen.get(part, ())) for part in ("train", "validation", "test")},
                "learned": {part: rows.targets for part, rows in sorted(self._parts.items(), key=_order)},
            },
            details={
                "end_of_turn": {self._written(end): count for end, count in self._ends.items()},
                "rows": {part: account.rows for part, account in accounts.items()},
            },
        )

    def check_model(self, model: "PreTrainedModel") -> None:
        """Examples must not be longer than the model allows, and its vocabulary no smaller than the tokenizer's."""
        check_fit(model, self._tokenizer, self._stage.data.block_size)
        if self._stage.data.packing:
            check_packing(model, "false")

    def example(self, row: int) -> str:
        """A row's tokens as text, with what is learned between marks."""
        rows = self._parts["train"]
        assert rows.learned is not None
        first, last = rows.bounds[row]
        ids, learned = rows.stream[first:last].tolist(), rows.learned[first:last].tolist()
        pieces = token_pieces(self._tokenizer, ids)
        opening, closing = (mark.encode() for mark in LEARNED)
        shown = bytearray()
        for i, (token, counts) in enumerate(zip(ids, learned, strict=True)):
            if counts and not (i and learned[i - 1]):
                shown += opening
            shown += pieces.get(token, b"")
            if counts and learned[i + 1 : i + 2] != [True]:
                shown += closing
        return shown.decode("utf-8", "replace")

    @property
    def prompts(self) -> Sequence[str]:
        """Human turns."""
        return self._stage.sample.prompts

    def speak(self, model: nn.Module, prompt: str, seed: int) -> "TokenTrace":
        """Let the model answer a human turn, wrapped as in training, up to the end of its turn."""
        template, data = self._template, self._stage.data
        text = wrap(data, prompt, self._conversations) if template is None else template.prompt(prompt)
        given = self._encoder.prompt(text)
        ends = {*self._ends, cast("int | None", self._tokenizer.eos_token_id)}
        return complete(cast("PreTrainedModel", model), self._tokenizer, given, self._stage.sample, seed, ends)

    def finish(self, model: nn.Module, folder: Path) -> Mapping[str, Any]:  # noqa: ARG002 - part of the protocol
        """There is nothing more to write."""
        return {}

    # -- reading ----------------------------------------------------------------------------------

    def _read(self, source: str, part: str) -> "list[Conversation] | list[Messages]":
        data = self._stage.data
        try:
            rows = read_table(source, data.max_rows)
            if data.format == "messages":
                found = read_messages(rows, data.messages, source)
            else:
                found = read_conversations(rows, data, source)
            if not found:
                raise SourceError(f"{printable(source)} holds no rows")
        except SourceError as error:
            raise _in_part(error, part) from None
        return found

    @cached_property
    def _template(self) -> ChatTemplate | None:
        """None if the texts come about without one."""
        if self._stage.data.format != "messages" or not self._tokenizer.chat_template:
            return None
        return ChatTemplate(self._tokenizer)

    @cached_property
    def _encoder(self) -> AnswerEncoder:
        try:
            return AnswerEncoder(self._tokenizer, self._template is not None)
        except SourceError as error:
            key = "tokenizer" if self._stage.tokenizer is not None else "model.from"
            raise ValueInRecipeError(key, str(error)) from None

    def _choose(self, found: "list[Conversation] | list[Messages]", part: str) -> tuple[list[Example], Account]:
        """The examples of a part; tells what is left out."""
        data = self._stage.data
        encoder = self._encoder
        try:
            conversations = self._rendered(found)
            chosen, account = select(conversations, encoder.examples(conversations), data.block_size, data.too_long)
        except SourceError as error:
            raise _in_part(error, part) from None
        if part == "train":
            self._conversations = conversations
        for sentence in account.sentences(data.block_size):
            self._around.tell(f"data.{part}: {sentence}")
        return chosen, account

    def _rendered(self, found: "list[Conversation] | list[Messages]") -> list[Conversation]:
        data, template = self._stage.data, self._template
        if data.format != "messages":
            return cast("list[Conversation]", found)
        messages = cast("list[Messages]", found)
        if template is None:
            return [plain(row, data.human, data.assistant) for row in messages]
        rendered = [template.conversations(row) for row in messages]
        if parted := sum(len(each) > 1 for each in rendered):
            self._around.tell(
                f"{parted:,} conversations became an example for each answer: the chat template writes earlier turns "
                "in another way once a conversation goes on"
            )
        return list(chain.from_iterable(rendered))

    def _set_aside(self, examples: list[Example], share: float) -> tuple[list[Example], list[Example]]:
        """Whole rows of the table; a row may have become several examples."""
        numbers = sorted({example.row for example in examples})
        if len(numbers) < 2:
            raise ValueInRecipeError(
                "data.validation", "too few examples to set a share aside; give a source, or 0 for no validation"
            )
        _, aside = set_rows_aside(len(numbers), share, self._around.seed)
        chosen = {numbers[i] for i in aside}
        return [e for e in examples if e.row not in chosen], [e for e in examples if e.row in chosen]

    # -- telling ----------------------------------------------------------------------------------

    def _objective(self, part: str) -> dict[str, CausalLM]:
        return {part: CausalLM(self._parts[part])} if part in self._parts else {}

    def _count_ends(self, examples: Sequence[Example]) -> "Counter[int]":
        """The tokens that end the last answers."""
        known = {self._encoder.end, *self._tokenizer.added_tokens_decoder}
        return Counter(int(e.ids[-1]) for e in examples if e.ids[-1] in known)

    def _tell_what_is_learned(self, examples: int) -> None:
        tell, train = self._around.tell, self._parts["train"]
        tell(
            f"rows: {len(train):,} of up to {self._stage.data.block_size} tokens, {train.targets:,} of "
            f"{len(train.stream):,} tokens are learned per epoch"
        )
        for end, count in self._ends.items():
            share = "" if count == examples else f" in {count:,} of {examples:,} examples"
            tell(f"end of turn: answers end with '{self._written(end)}'{share}, which is learned")
        if not self._ends:
            tell("end of turn: no special token ends the answers, so the model does not learn where to stop")

    def _written(self, token: int) -> str:
        return printable(token_pieces(self._tokenizer, [token])[token].decode("utf-8", "replace"))


def _texts(found: "list[Conversation] | list[Messages]") -> list[str]:
    """Texts to train a tokenizer on."""
    return [
        row.text if isinstance(row, Messages) else "".join(e.given + e.answer for e in row.exchanges) for row in found
    ]


def _in_part(error: SourceError, part: str) -> ValueInRecipeError:
    """The error at the key of the part's source, if it is about a source."""
    return ValueInRecipeError(f"data.{part}" if error.key == "data.train" else error.key, str(error))


def _order(part: tuple[str, Rows]) -> int:
    return ("train", "validation", "test").index(part[0])
