"""The stage that measures the information gain of contexts and trains learners to tell it from their tokens."""

import hashlib
import json
import os
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import nn

from ..data.crops import Crops
from ..data.hashing import hash_of_tokenizer
from ..data.sources import SourceError, read_documents
from ..data.tokenizer import load_tokenizer
from ..errors import MachineError, Stopped, TrainingError, ValueInRecipeError
from ..history.liveness import take_lock
from ..methods.information_gain.collecting import Collected, Collecting
from ..methods.information_gain.gains import Gains
from ..methods.information_gain.learners import shape_of
from ..methods.information_gain.learning import Examples, Learned, Quality, learn, predict
from ..methods.information_gain.objective_set import ObjectiveSet, draw_objective
from ..methods.information_gain.pairs import Pair, standardised, write_pairs
from ..methods.information_gain.stored import Facts, save_learners
from ..models.loading import make_model
from ..recipe.schema.gain import AnyLearner, GainStage
from ..tasks.fitting import check_fit
from ..tasks.task import Surroundings
from ..tasks.texts import encode_texts
from .context import StageContext

if TYPE_CHECKING:
    from transformers import PreTrainedModel

PAIRS = "pairs.parquet"
_VERSION = 1
"""To be raised when the same settings lead to other pairs than before."""
_LOOK_SECONDS = 0.5


def run(stage: GainStage, context: StageContext) -> dict[str, Any]:
    """Measure pairs, or take them from the cache, and train the learners; returns how good these are.

    Raises:
        ValueInRecipeError: the recipe does not fit the data or the model, or an estimate must not be believed.
        TrainingError: a gain is not finite, or all are alike.
        MachineError: the disk does not take it.
        Stopped: the user asked for it; what was measured is kept.
    """
    return _Work(stage, context).run()


class _Work:
    def __init__(self, stage: GainStage, context: StageContext):
        self._stage = stage
        self._context = context
        self._seed = context.seed if stage.seed is None else stage.seed
        self._tokenizer = load_tokenizer(stage.model.from_, "model.from", stage.model.trust_remote_code)
        self._crops = self._read("train", stage.data.train)
        self._objective = self._read("objective", stage.data.objective)
        self._see_apart()
        self._model: PreTrainedModel = make_model(
            stage.model, "causal-lm", self._tokenizer, {}, context.tell, context.cache
        )
        check_fit(self._model, self._tokenizer, stage.data.block_size)
        self._model.to(context.device)  # pyright: ignore[reportArgumentType, reportCallIssue]

    def run(self) -> dict[str, Any]:
        self._context.begin(self._stage.pairs, 0)
        collected = self._collect()
        z = standardised(collected.gains)
        if not z.any():
            raise TrainingError("all contexts have the same information gain: there is nothing to learn; raise step.lr")
        self._tell_gains(collected)
        contexts = torch.from_numpy(np.stack([pair.tokens for pair in collected.pairs])).long()
        examples = Examples.of(contexts.to(self._context.device), z, self._stage.holdout, self._seed)
        learned = {each.kind: self._learn(each, examples) for each in self._stage.learner}
        facts = self._facts(collected, learned)
        self._write(collected, z, examples, learned, facts)
        self._tell_learners(learned, facts, examples)
        return {
            **self._results(collected),
            "learner": facts.best,
            **{f"held-out/{kind}": _quality(each) for kind, each in learned.items()},
            "pairs_file": str((self._context.folder / PAIRS).relative_to(self._context.run_folder)),
        }

    # -- contexts ---------------------------------------------------------------------------------

    def _read(self, part: str, source: str) -> Crops:
        data, context, key = self._stage.data, self._context, f"data.{part}"
        try:
            texts = read_documents(source, data.text, data.documents, data.max_documents)
        except SourceError as error:
            raise ValueInRecipeError(key if error.key == "data.train" else error.key, str(error)) from None
        around = Surroundings(self._seed, context.cache, context.tell)
        encoded = encode_texts(texts, self._tokenizer, key, source, around)
        crops = Crops(encoded, data.block_size, at_least=data.min_tokens or 0)
        shortest = max(data.block_size, data.min_tokens or 0)
        if not len(crops):
            raise ValueInRecipeError(key, f"no article has {shortest:,} tokens; lower block_size or min_tokens")
        short = f"; {crops.left_out:,} of fewer than {shortest:,} tokens are left out" if crops.left_out else ""
        context.tell(f"{key}: {len(crops.counts):,} articles, {len(crops):,} contexts to draw from{short}")
        return crops

    def _see_apart(self) -> None:
        shared = set(self._crops.articles) & set(self._objective.articles)
        if shared:
            raise ValueInRecipeError(
                "data.objective",
                f"{len(shared)} of its articles are among those to train on; the gain must be measured on others",
            )

    # -- pairs ------------------------------------------------------------------------------------

    def _collect(self) -> Collected:
        stage, context = self._stage, self._context
        rows = draw_objective(self._objective, stage.data.contexts, self._seed)
        objective = torch.from_numpy(np.stack([self._objective.tokens(row) for row in rows])).long()
        folder = context.cache / "information-gain" / self._key(objective)

        def gains() -> Gains:
            vocabulary = cast("nn.Embedding", self._model.get_input_embeddings()).num_embeddings
            made = Gains(self._model, ObjectiveSet(objective.to(context.device), vocabulary), stage.step, self._seed)
            context.tell(f"the model has perplexity {made.perplexity:.4g} on {len(objective):,} objective contexts")
            return made

        collecting = Collecting(
            self._crops,
            self._seed,
            stage.pairs,
            stage.estimate,
            context.device,
            folder / PAIRS,
            self._after_pair,
            context.tell,
        )
        with self._alone(folder):
            return collecting.run(gains)

    def _key(self, objective: torch.Tensor) -> str:
        """Changes with everything that pairs depend on, but for how many are wanted."""
        digest = hashlib.sha256()
        for name, weight in sorted(self._model.state_dict().items()):
            digest.update(name.encode())
            digest.update(weight.detach().cpu().numpy().tobytes())
        digest.update(objective.numpy().tobytes())
        estimate = None if self._stage.estimate is None else self._stage.estimate.model_dump()
        described = [_VERSION, self._crops.fingerprint, self._seed, self._stage.step.model_dump(), estimate]
        digest.update(json.dumps(described).encode())
        return digest.hexdigest()[:32]

    @contextmanager
    def _alone(self, folder: Path) -> Generator[None]:
        """Wait until no other run measures the same pairs: they are measured once."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise MachineError(f"cannot keep pairs in {folder}: {error.strerror}") from None
        told = False
        while (lock := take_lock(folder)) is None:
            if not told:
                self._context.tell("another run measures the same pairs; waiting for them")
                told = True
            self._stop_if_wanted()
            self._progress(0, "waiting for another run that measures the same pairs")
            time.sleep(_LOOK_SECONDS)
        try:
            yield
        finally:
            os.close(lock)

    def _after_pair(self, pair: Pair) -> None:
        values = {"gain/exact": pair.exact, "gain/estimate": pair.estimate, "gain/perplexity": pair.perplexity}
        told = {name: value for name, value in values.items() if value is not None}
        self._context.recorder.metrics(self._context.stage_id, pair.number + 1, told)
        self._progress(pair.number + 1, "measuring gains")
        self._stop_if_wanted()

    def _progress(self, pairs: int, phase: str) -> None:
        self._context.recorder.progress(self._context.stage_id, pairs, self._stage.pairs, phase)

    def _stop_if_wanted(self) -> None:
        if self._context.stop_wanted():
            self._context.tell("stopped as asked; the gains measured so far are kept", kind="stopped")
            raise Stopped

    # -- learners ---------------------------------------------------------------------------------

    def _learn(self, settings: AnyLearner, examples: Examples) -> Learned:
        embeddings = cast("nn.Embedding", self._model.get_input_embeddings()).weight.detach()

        def after(epoch: int, loss: float, quality: Quality) -> None:
            values = {"train": loss, "mse": quality.mse, "rank_correlation": quality.rank_correlation}
            told = {f"learner/{settings.kind}/{name}": value for name, value in values.items()}
            self._context.recorder.metrics(self._context.stage_id, epoch, told)
            self._progress(self._stage.pairs, f"training the learner '{settings.kind}', epoch {epoch}")
            self._stop_if_wanted()

        return learn(settings, embeddings, examples, self._seed, after)

    def _facts(self, collected: Collected, learned: Mapping[str, Learned]) -> Facts:
        embeddings = cast("nn.Embedding", self._model.get_input_embeddings()).weight
        return Facts(
            tokenizer=hash_of_tokenizer(self._tokenizer),
            length=self._stage.data.block_size,
            mean=float(collected.gains.mean()),
            deviation=float(collected.gains.std()),
            objective=self._objective.articles,
            mse={kind: each.quality.mse for kind, each in learned.items()},
            shapes={each.kind: shape_of(each, embeddings).as_facts() for each in self._stage.learner},
        )

    # -- the end ----------------------------------------------------------------------------------

    def _write(
        self, collected: Collected, z: Any, examples: Examples, learned: Mapping[str, Learned], facts: Facts
    ) -> None:
        held_out = np.zeros(len(z))
        held_out[examples.held_out] = 1
        predicted = {f"q_{kind}": predict(each.net, examples.contexts).astype(float) for kind, each in learned.items()}
        further = {"gain": collected.gains, "z": z, "held_out": held_out, **predicted}
        write_pairs(self._context.folder / PAIRS, collected.pairs, further)
        save_learners(self._context.folder, learned, facts)

    def _results(self, collected: Collected) -> dict[str, Any]:
        gains, verdict = collected.gains, collected.calibration
        results: dict[str, Any] = {
            "pairs": len(gains),
            "gain": {
                "mean": float(gains.mean()),
                "deviation": float(gains.std()),
                "positive": float((gains > 0).mean()),
            },
        }
        if verdict is not None:
            correlation = verdict.rank_correlation
            results["estimate"] = {"rank_correlation": correlation, "pairs": verdict.pairs, "used": verdict.holds}
        return results

    def _tell_gains(self, collected: Collected) -> None:
        gains = collected.gains
        told = f"mean {gains.mean():.4g}, standard deviation {gains.std():.4g}, {(gains > 0).mean():.0%} positive"
        self._context.tell(f"information gain of {len(gains):,} contexts: {told}", kind="gain")

    def _tell_learners(self, learned: Mapping[str, Learned], facts: Facts, examples: Examples) -> None:
        for kind, each in learned.items():
            told = f"squared error {each.quality.mse:.4f}, rank correlation {each.quality.rank_correlation:.3f}"
            self._context.tell(
                f"learner '{kind}': {told} on {len(examples.held_out):,} pairs held out, after epoch {each.epoch}",
                kind="learner",
            )
        constant = float(examples.gains[examples.held_out].var(unbiased=False))
        self._context.tell(f"learner '{facts.best}' is best; always saying the mean would err by {constant:.4f}")


def _quality(learned: Learned) -> dict[str, float]:
    quality = learned.quality
    return {"mse": quality.mse, "rank_correlation": quality.rank_correlation, "epoch": float(learned.epoch)}
