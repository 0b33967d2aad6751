"""New texts out of given ones: the protocol, what is kept of them, and ways of making them that need no model."""
