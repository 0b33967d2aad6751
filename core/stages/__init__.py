"""One file per kind of stage. A stage wires parts together and does no mathematics itself."""
