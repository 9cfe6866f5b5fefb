"""What may be in the log, whatever LOG_LEVEL says."""

from __future__ import annotations

import logging
import re
from typing import Final

#: libraries that log addresses, headers and bodies as they are, at INFO or DEBUG. A callback's address, a signed link
#: and a chat's webhook are secrets as they stand: these tell of trouble only
QUIET: Final = {
    name: {"level": "WARNING"}
    for name in (
        "apprise", "asyncssh", "boto3", "botocore", "httpcore2", "httpx2", "pymysql", "requests", "requests_oauthlib",
        "s3transfer", "sqlalchemy", "urllib3",
    )
}  # fmt: skip

#: the address that a callback is sent to: whoever has the last part of its token may answer the wait
_TOKEN: Final = re.compile(r"(/callbacks/[a-z0-9]+-[a-z0-9]+-[a-z0-9]+-[a-z0-9]+-)[a-z0-9]+")


class Line(logging.Formatter):
    """Without what would let a reader of the log answer a wait; which wait it was stays readable."""

    def format(self, record: logging.LogRecord) -> str:
        return _TOKEN.sub(r"\1…", super().format(record))
