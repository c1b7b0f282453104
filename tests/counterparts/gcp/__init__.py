"""A pretend Google Cloud: the compute API and the billing catalogue, for the real SDK to talk to.

Requests and answers are held against the discovery documents that google-api-python-client ships;
nothing of them is kept here.
"""
