"""What lmwb's users see: the command line and the terminal app."""
