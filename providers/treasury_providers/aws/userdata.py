"""One user data for all machines of a request: each takes its own script out of it by its index."""

import base64
import gzip
from typing import Final

from treasury.domain.commands import Acquire
from treasury.domain.errors import Declined
from treasury.ports import Boot

# EC2's limit, before its base64.
BYTES_MAX: Final = 16_384

# Machines of one request differ in nothing but the launch index in their metadata. Nothing of a
# job is in here; the payload is base64, which no shell can misread.
_CHOOSER: Final = """\
#!/bin/sh
set -eu
md=http://169.254.169.254/latest
t=$(curl -sfS --retry 5 -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 300' "$md/api/token")
i=$(curl -sfS --retry 5 -H "X-aws-ec2-metadata-token: $t" "$md/meta-data/ami-launch-index")
umask 077
d=$(mktemp -d)
sed '1,/^# payload$/d' "$0" | base64 -d | gunzip > "$d/all"
awk -v i="$i" '/^# treasury machine [0-9]+$/ {on = ($4 == i); next} on' "$d/all" > "$d/boot"
chmod 700 "$d/boot"
rm "$d/all"
exec "$d/boot"
# payload
"""


def user_data(boot: Boot, request: Acquire) -> str:
    """What the machines of a request run at their first start. Raises Declined when it is larger
    than EC2 takes."""
    scripts = [boot(request, index) for index in range(len(request.leases))]
    text = scripts[0] if len(scripts) == 1 else _chooser(scripts)
    size = len(text.encode())
    if size > BYTES_MAX:
        raise Declined(f"the boot script has {size} bytes, EC2 takes {BYTES_MAX}")
    return text


def _chooser(scripts: list[str]) -> str:
    parts = [f"# treasury machine {index}\n{script}" for index, script in enumerate(scripts)]
    plain = "".join(part if part.endswith("\n") else f"{part}\n" for part in parts)
    # mtime 0: the same request is the same bytes.
    packed = base64.b64encode(gzip.compress(plain.encode(), mtime=0)).decode()
    lines = [packed[start : start + 76] for start in range(0, len(packed), 76)]
    return _CHOOSER + "\n".join(lines) + "\n"
