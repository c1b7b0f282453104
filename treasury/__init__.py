"""treasury: an agent that bids for, places, migrates and accounts for spot GPU capacity."""

__version__ = "0.1.0"
