"""The recipes that ship with lmwb; `lmwb recipes` lists them."""
