"""Second phase: the eigenvectors of A and S, layer by layer, each in a file of its own.

In float64 whatever the sums were in: the small eigenvalues matter where damping is small.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from ..errors import UsageError
from ..text import printable
from .products import mirrored, wide
from .storage import load_tensors, save_tensors
from .tracking import Layer
from .watch import Watch

PHASE = "eigendecomposition"


class Decomposer:
    """Finds eigenvectors; those of layers with the very same inputs only once."""

    def __init__(self) -> None:
        self._last: tuple[Tensor, tuple[Tensor, Tensor]] | None = None

    def of_layer(self, layer: Layer, sums: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
        """Eigenvalues and eigenvectors of a layer's moments.

        Args:
            layer: the layer.
            sums: `inputs`, `outputs` and `count` over parts of the rows.

        Returns:
            `input_values` (width,), `inputs` (width, width) with eigenvectors in columns, `output_values` (outputs,)
            and `outputs` (outputs, outputs); for embeddings no `inputs`: they are their own basis.
        """
        count = sum(int(part["count"]) for part in sums)
        inputs = torch.stack([part["inputs"] for part in sums]).sum(0, dtype=torch.float64) / count
        outputs = torch.stack([part["outputs"] for part in sums]).sum(0, dtype=torch.float64) / count
        if not (torch.isfinite(inputs).all() and torch.isfinite(outputs.triu()).all()):
            raise UsageError(
                f"layer '{printable(layer.name)}' has inputs or gradients that are not finite; see whether the model "
                "itself is sound"
            )
        kept = wide(sums[0]["outputs"].dtype)
        output_values, output_vectors = _eigen(mirrored(outputs))
        found = {"output_values": output_values.to(kept), "outputs": output_vectors.to(kept)}
        if layer.kind == "embedding":
            return found | {"input_values": inputs.to(kept)}
        if self._last is None or not torch.equal(self._last[0], inputs):
            self._last = (inputs, _eigen(mirrored(inputs)))
        input_values, input_vectors = self._last[1]
        return found | {"input_values": input_values.to(kept), "inputs": input_vectors.to(kept)}


def fit_eigen(
    layers: Sequence[Layer],
    parts: dict[str, Sequence[Path]],
    files: dict[str, Path],
    device: torch.device,
    watch: Watch,
) -> None:
    """Write the eigenvectors of all layers that have none yet.

    Args:
        layers: of the model.
        parts: by layer, the files of covariance sums that hold it.
        files: by layer, what is written.
        device: that works it out.
        watch: hears how far it is.
    """
    decomposer = Decomposer()
    mine = layers[watch.team.rank :: watch.team.size]
    for done, layer in enumerate(mine, 1):
        if not files[layer.name].is_file():
            with watch.profile.phase(PHASE):
                sums = [load_tensors(part, f"{layer.name}/", device) for part in parts[layer.name]]
                save_tensors(files[layer.name], decomposer.of_layer(layer, sums))
        watch.look(PHASE, done, len(mine))


def _eigen(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Values and vectors of a symmetric matrix that has no negative values but for rounding."""
    values, vectors = torch.linalg.eigh(matrix)
    return values.clamp(min=0), vectors
