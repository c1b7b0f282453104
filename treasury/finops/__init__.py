"""Money seen by people: statements, exports to other books, imports of bills.

Lives here: pure readings of the journal and the book, and the formats of other people's tools. May
not live here: any way to change a budget or a balance except through the engine's inputs.
"""
