"""Pictures made of characters: charts, coloured tokens. Pure functions, no terminal and no Textual in sight."""
