"""The HTTP API: what people and programs ask of a running daemon, and the page that shows it live.

Lives here: the route table and the document made of it, tokens, the guard at the door (hosts,
origins, sizes, time, load), idempotent orders, the stream of facts, the live page. May not live
here: decisions: a handler reads the book on its own loop, or hands the agent an input and tells
what the turn said.

aiohttp is imported in this room only, and this room only when a daemon starts.
"""

from treasury.web.house import House
from treasury.web.tokens import Tokens, open_tokens

__all__ = ["House", "Tokens", "open_tokens"]
