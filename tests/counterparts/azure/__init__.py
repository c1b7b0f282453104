"""A pretend Azure: Resource Manager and the retail price list, for the real SDK to talk to."""
