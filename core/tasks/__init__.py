"""From a recipe's data to objectives over its rows, one file for each kind of example."""
