"""Where lmwb keeps things: one folder with the history file and one folder per run."""

import os
from dataclasses import dataclass
from pathlib import Path

from .errors import MachineError


@dataclass(frozen=True)
class Home:
    """The folder that holds everything lmwb knows.

    Attributes:
        root: absolute path of the folder; it need not exist yet.
    """

    root: Path

    @classmethod
    def locate(cls, given: Path | None = None) -> "Home":
        """The folder given, else ``$LMWB_HOME``, else the platform's user data folder."""
        if given is None and (named := os.environ.get("LMWB_HOME")):
            given = Path(named)
        if given is None:
            import platformdirs

            given = platformdirs.user_data_path("lmwb", appauthor=False)
        return cls(Path(os.path.abspath(given.expanduser())))  # noqa: PTH100 - resolve() would follow links

    @property
    def database(self) -> Path:
        """The history of all runs."""
        return self.root / "lmwb.db"

    @property
    def cache(self) -> Path:
        """Things that can be made again, such as tokenised data."""
        return self.root / "cache"

    @property
    def smoke(self) -> Path:
        """Made-up data for recipes that are only tried."""
        return self.cache / "smoke"

    def run_folder(self, uid: str) -> Path:
        """The folder of one run."""
        return self.root / "runs" / uid

    def create(self) -> None:
        """Make the folder.

        Raises:
            MachineError: it cannot be made or written to.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise MachineError(
                f"cannot create lmwb's home folder {self.root}: {error.strerror}; "
                "choose another with --home or LMWB_HOME"
            ) from None
        if not os.access(self.root, os.W_OK | os.X_OK):
            raise MachineError(
                f"lmwb's home folder {self.root} cannot be written to; choose another with --home or LMWB_HOME"
            )
