"""HTTP requests with limits on time and size. Only this package imports an HTTP library."""

from sluice.http.client import Answer, BodyTooLarge, HttpClient, Limits, NoAnswer, basic_credentials
from sluice.http.tls import tls_context

__all__ = ["Answer", "BodyTooLarge", "HttpClient", "Limits", "NoAnswer", "basic_credentials", "tls_context"]
