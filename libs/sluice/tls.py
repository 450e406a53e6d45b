"""The TLS context of this process, for all its clients: reading the certificates of all authorities takes a processor
60 ms. Safe for several threads.
"""

from __future__ import annotations

import ssl
from functools import cache

import httpx


@cache
def tls_context() -> ssl.SSLContext:
    """Trusts certifi's authorities, or those of SSL_CERT_FILE or SSL_CERT_DIR where one is set."""
    return httpx.create_ssl_context()
