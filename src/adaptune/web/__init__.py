"""What the pages of adaptune have in common: how files are sent, styles, words, errors as JSON. Knows no page."""
