"""HTTP requests with limits on time and size. Only this package imports an HTTP library."""

from sluice.http.client import Answer, HttpClient, Limits, basic_credentials
from sluice.http.failures import BodyTooLarge, NoAnswer, Unsendable
from sluice.http.tls import tls_context
from sluice.http.validity import is_header_name, is_header_value, url_problem

__all__ = [
    "Answer",
    "BodyTooLarge",
    "HttpClient",
    "Limits",
    "NoAnswer",
    "Unsendable",
    "basic_credentials",
    "is_header_name",
    "is_header_value",
    "tls_context",
    "url_problem",
]
