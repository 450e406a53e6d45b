"""Avro schemas of canonical records: generation, encoder, decoder, schema registry and compatibility check."""

from sluice.schemas.avro import avro_schema
from sluice.schemas.compatibility import check_compatible
from sluice.schemas.decoder import make_decoder
from sluice.schemas.encoder import make_encoder
from sluice.schemas.registry import Registry

__all__ = [
    "Registry",
    "avro_schema",
    "check_compatible",
    "make_decoder",
    "make_encoder",
]
