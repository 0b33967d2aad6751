"""What tells one model's files from another's, without loading them."""

from pathlib import Path

from ..data.hashing import hash_of_source
from ..errors import ValueInRecipeError
from ..text import printable


def identity_of(source: str, key: str, memory: Path) -> str:
    """Changes when the model's files do: a hash of a folder's files, or the hub's own name of their version.

    Args:
        source: a folder, or a name on the hub.
        key: the recipe's key that names it, for messages.
        memory: a folder that remembers the hashes of large files; need not exist.

    Raises:
        ValueInRecipeError: there is no such model.
    """
    folder = Path(source)
    try:
        if folder.is_dir():
            return hash_of_source(folder, memory)
        from transformers import AutoConfig

        return f"{source}@{AutoConfig.from_pretrained(source)._commit_hash}"
    except Exception as error:
        reason = printable((str(error).strip() or type(error).__name__).splitlines()[0])
        raise ValueInRecipeError(key, f"cannot find the model '{printable(source)}': {reason}") from None
