"""A line to type in, at the bottom of a screen."""

from textual.widgets import Input

from ...core.text import printable


class Entry(Input):
    """One line of input: nothing blinks, and what is pasted is made printable."""

    DEFAULT_CSS = """
    Entry, Entry:focus { height: 1; border: none; padding: 0 1; background: $panel; color: $foreground; dock: bottom; }
    """

    def __init__(self, prompt: str, value: str = ""):
        super().__init__(value, placeholder=prompt, select_on_focus=False, compact=True)
        self.cursor_blink = False

    def validate_value(self, value: str) -> str:
        """Nothing that could steer the terminal gets in, by whatever way."""
        return printable(value)
