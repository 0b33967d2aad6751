"""The loop, what it learns, how weights change, and what is kept on disk."""
