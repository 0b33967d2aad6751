"""What is said of a model's answers: figures that are added up batch by batch."""
