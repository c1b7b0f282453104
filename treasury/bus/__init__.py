"""The bus: MQTT between the agent, its machines and whoever else listens.

What is said on it (topics, messages, schemas) lives here, and the agent's end of it (client,
control), who may say what (secrets, access lists), the embedded broker and what a fresh machine
boots into. Nothing that decides may live here. `fields`, `messages` and `topics` are also read on
rented machines: they need Python 3.9 and its standard library only.
"""
