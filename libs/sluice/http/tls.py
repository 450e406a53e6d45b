"""The TLS context of this process."""

from __future__ import annotations

import os
import ssl
from functools import cache

import certifi


@cache
def tls_context() -> ssl.SSLContext:
    """The context that all HTTP clients of this process share, because reading all certificates takes 60 ms of CPU.

    It trusts certifi's authorities, or those of SSL_CERT_FILE or SSL_CERT_DIR if one is set. Safe for several threads.
    """
    if file := os.environ.get("SSL_CERT_FILE"):
        return ssl.create_default_context(cafile=file)
    if folder := os.environ.get("SSL_CERT_DIR"):
        return ssl.create_default_context(capath=folder)
    return ssl.create_default_context(cafile=certifi.where())
