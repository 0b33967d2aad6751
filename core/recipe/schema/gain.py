"""The table `[[method]]` of kind `information-gain`."""

from typing import Literal

from .base import Table


class InformationGain(Table):
    """Train only on contexts that promise to help (Antonello et al. 2021)."""

    kind: Literal["information-gain"] = "information-gain"
