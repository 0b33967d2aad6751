"""Factors: what must be known of a model's curvature on its training data before queries can be answered.

`fit_factors` goes through the phases that a strategy needs; whatever is on disk already, from this call or one that was
killed, is not done again. Rows are cut into parts and layers into groups; each (part, group) is one pass whose sums
are one file, and several processes take turns with them.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from ..errors import UsageError
from ..training.objective import Objective
from ..training.randomness import generator
from .correction import fit_squares
from .covariance import fit_covariance
from .eigen import fit_eigen
from .labels import Labels, Sampled
from .passes import Subject
from .preconditioner import Preconditioner, damped_inverse
from .storage import fingerprint_of_weights, folder_for, load_tensors
from .tracking import Layer
from .watch import Watch

Strategy = Literal["identity", "diagonal", "kfac", "ekfac"]
STRATEGIES: tuple[Strategy, ...] = ("identity", "diagonal", "kfac", "ekfac")


@dataclass(frozen=True)
class FactorSettings:
    """How factors are worked out.

    Attributes:
        strategy: which approximation of the curvature.
        labels: `sampled` from the model's predictions (true Fisher), or those of the `data` (empirical Fisher).
        seed: of the sampled labels, and of the rows that are drawn if `share` is below 1.
        share: of the training rows that the factors are worked out on.
        parts: of the rows, each a file; a killed run goes on after the last part that was finished.
        memory: bytes that sums of a pass may take; layers are cut into groups to stay below.
    """

    strategy: Strategy = "ekfac"
    labels: Literal["sampled", "data"] = "sampled"
    seed: int = 0
    share: float = 1.0
    parts: int = 4
    memory: int = 2**33

    def __post_init__(self) -> None:
        if self.strategy not in STRATEGIES:
            raise UsageError(f"there is no strategy '{self.strategy}'; there are {', '.join(STRATEGIES)}")
        if not 0 < self.share <= 1:
            raise UsageError(f"share must be above 0 and at most 1, and is {self.share:g}")
        if self.parts < 1 or self.memory < 1:
            raise UsageError("parts and memory must be at least 1")


@dataclass(frozen=True)
class Factors:
    """Factors on disk.

    Attributes:
        strategy: that they are for.
        layers: that they are of.
        folder: where they are.
        rows: how many rows they were worked out on.
        key: what they were made from.
        bases: by layer, the file of its eigenvectors.
        squares: by layer, the files of its sums of squares.
    """

    strategy: Strategy
    layers: tuple[Layer, ...]
    folder: Path
    rows: int
    key: Mapping[str, Any]
    bases: Mapping[str, Path]
    squares: Mapping[str, Sequence[Path]]

    def preconditioner(self, layer: Layer, damping: float | None, device: torch.device) -> Preconditioner:
        """P of a layer; `damping` None for a tenth of its mean eigenvalue.

        Raises:
            UsageError: the damping makes it singular.
        """
        if self.strategy == "identity":
            return Preconditioner(layer)
        if self.strategy == "diagonal":
            return Preconditioner(layer, damped_inverse(layer, self.curvature(layer, device), damping))
        basis = load_tensors(self.bases[layer.name], device=device)
        if self.strategy == "kfac":
            curvature = basis["output_values"][:, None] * basis["input_values"]
        else:
            curvature = self.curvature(layer, device)
        inverse = damped_inverse(layer, curvature, damping)
        return Preconditioner(layer, inverse, basis["outputs"], basis.get("inputs"))

    def curvature(self, layer: Layer, device: torch.device) -> Tensor:
        """Mean squares of a layer's gradients, (outputs, width)."""
        parts = [load_tensors(file, f"{layer.name}/", device) for file in self.squares[layer.name]]
        count = sum(int(part["count"]) for part in parts)
        sums = torch.stack([part["squares"] for part in parts])
        return (sums.sum(0, dtype=torch.float64) / count).to(sums.dtype)


def fit_factors(
    subject: Subject,
    objective: Objective,
    folder: Path,
    settings: FactorSettings | None = None,
    watch: Watch | None = None,
    labels: Labels | None = None,
    label_key: str = "",
) -> Factors:
    """Work out what a strategy needs, or find it in the cache.

    Args:
        subject: the model.
        objective: over its training rows.
        folder: the cache; entries are found by weights, rows, layers and settings.
        settings: how.
        watch: hears how far it is.
        labels: gives labels instead of sampling them or taking the data's.
        label_key: tells such labels from others in the cache.

    Raises:
        UsageError: labels cannot be sampled, or gradients are not finite.
        MachineError: the folder cannot be written.
    """
    settings, watch = settings or FactorSettings(), watch or Watch()
    for note in subject.notes:
        watch.tell(note)
    rows = _rows(objective, settings)
    if settings.strategy == "identity":
        return Factors("identity", subject.layers, folder, 0, {}, {}, {})
    if labels is None and settings.labels == "sampled":
        labels = Sampled(objective, settings.seed)
    phases = Phases(subject, objective, folder, settings, watch, labels, label_key, rows)
    needs_bases = settings.strategy in ("kfac", "ekfac")
    bases = phases.bases() if needs_bases else {}
    squares = phases.squares(bases) if settings.strategy in ("diagonal", "ekfac") else {}
    return Factors(settings.strategy, subject.layers, phases.folder, len(rows), phases.key, bases, squares)


class Phases:
    """The phases of one model on one set of rows; they leave files behind and find those that are there."""

    def __init__(
        self,
        subject: Subject,
        objective: Objective,
        folder: Path,
        settings: FactorSettings,
        watch: Watch,
        labels: Labels | None,
        label_key: str,
        rows: Sequence[int],
    ):
        """Nothing is done yet."""
        self._subject, self._objective, self._settings = subject, objective, settings
        self._watch, self._labels, self._rows = watch, labels, rows
        self.key = key_of(subject, objective, settings, label_key)
        self.folder = folder_for(folder, self.key)

    def bases(self) -> dict[str, Path]:
        """By layer, the file of its eigenvectors."""
        files = {layer.name: self.folder / f"basis-{i:04d}.safetensors" for i, layer in enumerate(self._subject.layers)}
        if self._watch.team.told(all(file.is_file() for file in files.values())):
            self._watch.tell("eigenvectors: from the cache")
            return files

        def work(rows: Sequence[int], layers: Sequence[Layer], file: Path) -> None:
            fit_covariance(self._subject, self._objective, rows, layers, self._labels, file, self._watch)

        parts = self._parts("covariance", _moments, work)
        fit_eigen(self._subject.layers, parts, files, self._subject.device, self._watch)
        self._watch.team.gathered(None)
        if self._watch.team.leads:
            for file in {file for some in parts.values() for file in some}:
                file.unlink(missing_ok=True)
        return files

    def squares(self, bases: Mapping[str, Path]) -> dict[str, Sequence[Path]]:
        """By layer, the files of its sums of squares, in its basis or, without bases, as it is."""

        def work(rows: Sequence[int], layers: Sequence[Layer], file: Path) -> None:
            loaded = _Bases(bases, self._subject.device)
            fit_squares(self._subject, self._objective, rows, layers, self._labels, loaded, file, self._watch)

        if not bases:
            return self._parts("diagonal", lambda layer: layer.size, work)
        return self._parts("correction", lambda layer: layer.size + _moments(layer), work)

    def _parts(
        self,
        name: str,
        numbers: Callable[[Layer], int],
        work: Callable[[Sequence[int], Sequence[Layer], Path], None],
    ) -> dict[str, Sequence[Path]]:
        """Do what is not on disk yet; by layer, the files that it is in."""
        groups = grouped(self._subject.layers, lambda layer: 4 * numbers(layer), self._settings.memory)
        count = min(self._settings.parts, len(self._rows))
        cut = [self._rows[len(self._rows) * i // count : len(self._rows) * (i + 1) // count] for i in range(count)]
        units = [
            (rows, layers, self.folder / f"{name}-{p + 1}of{count}-{g + 1}of{len(groups)}.safetensors")
            for p, rows in enumerate(cut)
            for g, layers in enumerate(groups)
        ]
        found = 0
        for rows, layers, file in units[self._watch.team.rank :: self._watch.team.size]:
            if file.is_file():
                found += 1
            else:
                work(rows, layers, file)
        if found:
            self._watch.tell(f"{name}: {found} of {len(units)} parts from the cache")
        self._watch.team.gathered(None)  # wait for the others
        return {layer.name: [file for _, layers, file in units if layer in layers] for layer in self._subject.layers}


class _Bases:
    """Bases of layers, each read when it is first asked for."""

    def __init__(self, files: Mapping[str, Path], device: torch.device):
        self._files, self._device = files, device
        self._read: dict[str, tuple[Tensor | None, Tensor]] = {}

    def __call__(self, layer: Layer) -> tuple[Tensor | None, Tensor] | None:
        if not self._files:
            return None
        if layer.name not in self._read:
            tensors = load_tensors(self._files[layer.name], device=self._device)
            self._read[layer.name] = (tensors.get("inputs"), tensors["outputs"])
        return self._read[layer.name]


def _moments(layer: Layer) -> int:
    """Numbers in a layer's second moments, or in their eigenvectors."""
    return layer.width**2 + layer.outputs**2


def grouped(layers: Sequence[Layer], size: Callable[[Layer], int], budget: int) -> list[list[Layer]]:
    """Layers in groups, in order, each within a budget unless a single layer is above it."""
    groups: list[list[Layer]] = []
    room = 0
    for layer in layers:
        if not groups or size(layer) > room:
            groups.append([])
            room = budget
        groups[-1].append(layer)
        room -= size(layer)
    return groups


def key_of(subject: Subject, objective: Objective, settings: FactorSettings, label_key: str = "") -> dict[str, Any]:
    """What the curvature depends on; strategies share what they have in common."""
    told = {name: value for name, value in asdict(settings).items() if name not in ("strategy", "parts", "memory")}
    if settings.labels == "data" and settings.share == 1:
        del told["seed"]
    return {
        **told,
        "weights": fingerprint_of_weights(subject.model),
        "rows": objective.fingerprint,
        "objective": type(objective).__name__,
        "layers": [[layer.name, layer.outputs, layer.width] for layer in subject.layers],
        "numbers": subject.numbers,
        "given labels": label_key,
    }


def _rows(objective: Objective, settings: FactorSettings) -> list[int]:
    """The rows that factors are worked out on, in order."""
    count = math.ceil(len(objective) * settings.share)
    if count == len(objective):
        return list(range(count))
    order = torch.randperm(len(objective), generator=generator(settings.seed, "factor rows"))
    return sorted(order[:count].tolist())
