"""The page on which people look at runs, compare and start them. Imports no torch: a run is its own process."""
