"""From a source of texts to rows of tokens."""
