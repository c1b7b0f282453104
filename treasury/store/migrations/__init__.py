"""Alembic's home: `env.py`, and one file a schema version that later versions never change."""
