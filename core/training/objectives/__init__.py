"""What is learned, one file each: how rows become a batch, and what its loss is."""
