"""What can be trained: models and their tokenizers, loaded or made anew."""
