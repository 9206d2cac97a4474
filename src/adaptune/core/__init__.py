"""Types, parts, catalogues, errors and the run folder: what every room shares. Knows no room."""
