"""The TLS context that all HTTP clients of this process share."""

from __future__ import annotations

import os
import ssl
from functools import cache

import certifi

from sluice.errors import EnvironmentFault


@cache
def tls_context() -> ssl.SSLContext:
    """The TLS context of all HTTP clients of this process. It is created once, because that takes 60 ms of CPU.

    It trusts the authorities of certifi, or those of SSL_CERT_FILE or SSL_CERT_DIR if one of these variables is set.
    Safe for several threads. Raises EnvironmentFault if SSL_CERT_FILE names no file with certificates.
    """
    if file := os.environ.get("SSL_CERT_FILE"):
        try:
            return ssl.create_default_context(cafile=file)
        except OSError as error:
            why = f"{file} is no file with certificates ({error.strerror or type(error).__name__})"
            raise EnvironmentFault("SSL_CERT_FILE", why, "correct the variable, and restart") from None
    if folder := os.environ.get("SSL_CERT_DIR"):
        return ssl.create_default_context(capath=folder)
    return ssl.create_default_context(cafile=certifi.where())
