"""The live page: one file, no framework, nothing from anywhere else."""

import base64
import hashlib
import re
from functools import cache
from pathlib import Path
from typing import Final

_FILE: Final = Path(__file__).with_name("page.html")


@cache
def page() -> str:
    """The page's text."""
    return _FILE.read_text(encoding="utf-8")


def _hashes(element: str) -> str:
    """What the page may run or apply, by hash: whatever else gets into it stays dead text."""
    found = re.findall(rf"<{element}>(.*?)</{element}>", page(), re.DOTALL)
    digests = (hashlib.sha256(text.encode()).digest() for text in found)
    return " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)


POLICY: Final = (
    f"default-src 'none'; script-src {_hashes('script')}; style-src {_hashes('style')};"
    " connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'"
)
