"""What may be in the log, whatever LOG_LEVEL says."""

from __future__ import annotations

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
