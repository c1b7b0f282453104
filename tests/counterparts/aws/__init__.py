"""A pretend AWS: moto behind a proxy of ours, for the real SDK to talk to."""
