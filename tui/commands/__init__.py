"""The commands of `lmwb`, by what they work on.

Each module's `add_to` puts its commands into the Typer app. A command parses, calls the core, and prints: data to
stdout, everything else to stderr.
"""
