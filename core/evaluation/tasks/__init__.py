"""Ready-made tasks: a model that has learned something, put to work on texts."""
