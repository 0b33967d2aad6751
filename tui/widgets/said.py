"""What a model said to a prompt: one of its texts as coloured tokens, and an inspector in which an alternative can be
chosen to go on from."""

import math
from collections.abc import Sequence

import numpy as np
from rich.segment import Segment
from textual.geometry import Size
from textual.message import Message

from ...core.text import printable
from ...core.tokens import TokenTrace
from ..lab import Branch, Said, branched
from .frame import Line, cut, wrapped
from .inspected import InspectedTokens
from .tokens import Meaning, TokenView

_MOST_NOTES = 3
"""Lines."""


class SaidPane(InspectedTokens):
    """The texts of one model, one at a time."""

    least_for_bars = 15
    tells_more = True

    class Looked(Message):
        """The cursor is on another token: so many after the prompt, negative in the prompt."""

        def __init__(self, pane: "SaidPane", step: int):
            super().__init__()
            self.pane = pane
            self.step = step

    def __init__(self, title: str):
        self.title = title
        super().__init__()
        self._said: Said | None = None
        self._place = 0
        self._model = ""
        self._status = ""
        self._bad = False
        self._alternative = -1
        self._scales: dict[str, Meaning] = {"said": "linear", "scored": "surprisal", "compared": "difference"}

    @property
    def said(self) -> Said | None:
        """What is shown."""
        return self._said

    @property
    def number(self) -> int:
        """Which of the texts is shown."""
        return self._place

    def show(self, said: Said | None) -> None:
        """Other texts, or none yet; the best one first."""
        self._said, self._place, self._alternative = said, 0, -1
        self._view.scale = self._scales[self._kind()]
        self._show()

    def tell(self, model: str, status: str, bad: bool = False) -> None:
        """Who speaks, and what the model does at present: foreign text."""
        if (model, status, bad) != (self._model, self._status, self._bad):
            self._model, self._status, self._bad = model, status, bad
            self._make_room()
            self.redraw()

    def cycle_scale(self) -> None:
        """The next meaning of the colours, kept for texts of this kind."""
        super().cycle_scale()
        self._scales[self._kind()] = self._view.scale

    def look_at(self, position: int) -> None:
        """The cursor goes to the token at a position."""
        self._view.look_at(position)

    def turn(self, by: int) -> None:
        """Another of the texts."""
        if self._said is not None:
            self._place = (self._place + by) % len(self._said.traces)
            self._alternative = -1
            self._show()

    def choose(self, by: int) -> None:
        """Another alternative to the token at the cursor; none after the last."""
        if count := len(self._choices()):
            self._alternative = (self._alternative + 1 + by) % (count + 1) - 1
            self.redraw()

    def branch(self, here: Branch, vocabulary: str) -> Branch | None:
        """What goes on from the chosen alternative, or from the token at the cursor; None without one."""
        trace, cluster = self._view.trace, self._view.cluster
        if trace is None or cluster is None:
            return None
        if (chosen := self.chosen()) is not None:
            position, token_id = chosen
            way = f"“{trace.piece(token_id)}” instead of “{trace.piece(int(trace.ids[position]))}”"
        else:
            position, token_id = cluster.last - 1, int(trace.ids[cluster.last - 1])
            way = f"after “{trace.piece(token_id)}”"
        return branched(here, trace, [token_id], position, vocabulary, way)

    def chosen(self) -> tuple[int, int] | None:
        """Position and id of the chosen alternative."""
        return self._choices()[self._alternative] if self._alternative >= 0 else None

    def inside(self, size: Size) -> Sequence[Line]:
        """Which text, room for the tokens, inspector."""
        if self._said is None:
            style = self.palette.bad if self._bad else self.palette.dim
            text = (
                printable(self._status) or "Nothing has been said yet: e edits the prompt, enter lets the model speak."
            )
            return [[], *([Segment("  "), *line] for line in wrapped(text, size.width - 4, style))]
        return self.tokens_inside(size)

    def notes(self) -> Line:
        """Who speaks."""
        return [Segment(printable(self._model), self.palette.dim)]

    def above(self, width: int) -> Sequence[Line]:
        """Which text of how many, its sum, and what a reader must know."""
        said, palette = self._said, self.palette
        if said is None or not said.traces:
            return [[]]
        trace = said.traces[self._place]
        line = [Segment(f" {self._place + 1} of {len(said.traces)}", palette.strong)] if not said.scored else []
        if said.generation is not None:
            one = said.generation.hypotheses[self._place]
            line.append(Segment(f"  sum {one.total:.3f}", palette.text))
            if one.final != one.total:
                line.append(Segment(f"  ranked by {one.final:.3f}", palette.text))
        new = trace.probability[trace.prompt_length :]
        line.append(Segment(f"{'  ' if line else ' '}{len(new)} tokens", palette.dim))
        if said.scored:
            line.append(Segment(f"  {_bits(trace)} a token", palette.text))
            line.append(Segment(f", first model {_bits(said.against)}" if said.against else "", palette.dim))
        elif len(known := new[~np.isnan(new)]):
            line.append(Segment(f"  mean p {float(known.mean()):.2f}", palette.dim))
        line.append(Segment(f"  {said.words}" if said.words and said.against is None else "", palette.dim))
        if said.generation is not None and said.generation.hypotheses[self._place].finished:
            line.append(Segment("  ended by itself", palette.dim))
        if self._status and not self._bad:
            line.append(Segment(f"   {printable(self._status)}", palette.accent))
        told = said.generation.notes if said.generation is not None else ()
        notes = [part for note in told for part in wrapped(printable(note), width - 3, palette.warning, indent=2)]
        if self._bad:
            notes = wrapped(printable(self._status), width - 3, palette.bad, indent=2)
        return [cut(line, width), *([Segment(" "), *note] for note in notes[:_MOST_NOTES])]

    def more_facts(self) -> Line:
        """Score, probability after the processors and what they blocked; the alternative that was chosen."""
        trace, cluster = self._view.trace, self._view.cluster
        said = self._said
        if trace is None or cluster is None or said is None:
            return []
        if (chosen := self.chosen()) is not None:
            from ..pictures.tokens import token_name

            name = token_name(trace, chosen[1])
            return [Segment("enter goes on with “", self.palette.accent), Segment(name, self.palette.strong),
                    Segment("”", self.palette.accent)]  # fmt: skip
        if said.scored:
            return self._scored_facts(said, trace, cluster.first)
        if said.generation is None or not said.generation.hypotheses:
            return []
        one, at = said.generation.hypotheses[self._place], cluster.first
        if math.isnan(float(one.score[at])):
            return [Segment("given, not chosen", self.palette.dim)]
        from ..pictures.tokens import short_probability

        told = f"score {float(one.score[at]):.2f}  renormalised {short_probability(float(one.renormalised[at]))}"
        blocked = float(one.blocked[at])
        return [
            Segment(told, self.palette.text),
            Segment(f"  blocked {blocked:.0%}" if blocked else "", self.palette.dim),
        ]

    def on_token_view_moved(self, message: TokenView.Moved) -> None:
        """Choose anew at another token; tell where it is."""
        self._alternative = -1
        self.post_message(self.Looked(self, message.cluster.first - message.trace.prompt_length))

    # -- inside -----------------------------------------------------------------------------------

    def _kind(self) -> str:
        """What the colours show at first depends on it."""
        if self._said is None or not self._said.scored:
            return "said"
        return "scored" if self._said.against is None else "compared"

    def _scored_facts(self, said: Said, trace: TokenTrace, at: int) -> Line:
        """The surprisal of a token; what the first model thought of it, and by how much it became likelier."""
        from ..pictures.colours import difference_ink
        from ..pictures.generations import signed
        from ..pictures.ink import rich_style
        from ..pictures.tokens import short_probability

        bits = -float(trace.logprob[at]) / math.log(2)
        if math.isnan(bits):
            return [Segment("nothing stands before it", self.palette.dim)]
        line = [Segment(f"surprisal {bits:.1f} bit", self.palette.text)]
        if said.against is not None:
            before = float(said.against.logprob[at])
            change = -before / math.log(2) - bits
            told = f"{'+' if change > 0 else ''}{signed(change)} bit"
            line = [
                Segment(told, rich_style(difference_ink(change, self._view.depth))),
                Segment(f"  first model p {short_probability(math.exp(before))}", self.palette.text),
                Segment(f"  rank {said.against.rank[at]}", self.palette.text),
            ]
        return line

    def _show(self) -> None:
        said = self._said
        trace = said.traces[self._place] if said is not None and said.traces else None
        self._view.visible = trace is not None
        self._view.show(trace, said.difference if said is not None else None)
        self._make_room()
        self.redraw()

    def _choices(self) -> list[tuple[int, int]]:
        """Position and id of every alternative in the inspector that is not the token itself."""
        trace, cluster = self._view.trace, self._view.cluster
        if trace is None or cluster is None:
            return []
        return [
            (position, int(token_id))
            for position in range(cluster.first, cluster.last)
            if not math.isnan(float(trace.logprob[position]))
            for token_id in trace.alternative_ids[position]
            if int(token_id) != int(trace.ids[position])
        ]


def _bits(trace: TokenTrace) -> str:
    """The mean surprisal."""
    known = trace.logprob[~np.isnan(trace.logprob)].astype(np.float64)
    return f"{-float(known.mean()) / math.log(2):.2f} bit" if len(known) else "no bits"
