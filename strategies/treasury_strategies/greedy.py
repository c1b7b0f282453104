"""Spot whenever it is there; on-demand only when the deadline leaves no other way."""

from treasury_strategies.patient import Patient, PatientSettings


class Greedy(Patient):
    """Takes the cheapest spot offer, waits while there is none, and falls back to on-demand at the
    last tick that is safe. Once on on-demand a job stays there."""

    name = "greedy"
    Settings = PatientSettings
