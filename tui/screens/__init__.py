"""The app's screens: each answers one question."""
