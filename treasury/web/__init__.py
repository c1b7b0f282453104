"""The HTTP API: what people and programs ask of a running daemon, and the page that shows it live.

Lives here: the route table and the document made of it, tokens, the guard at the door (hosts,
origins, sizes, time, load), idempotent orders, the stream of facts, the live page. May not live
here: decisions: a handler reads the book on its own loop, or hands the agent an input and tells
what the turn said.

`house` says what a daemon has to give, `tokens` who may ask, `app.make_app` puts the application
together and `serve.ApiServer` listens. aiohttp is imported where a daemon starts, and nothing here:
the command line reads tokens, too.
"""
