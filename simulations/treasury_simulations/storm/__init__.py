"""Storms: the production daemon on a virtual loop, and every misfortune that can be drawn.

Lives here: the deterministic loop, pretend clouds and machines with their own truth, faults,
checkers, and what draws, runs and shrinks a storm. May not live here: anything the daemon itself
would need.
"""
