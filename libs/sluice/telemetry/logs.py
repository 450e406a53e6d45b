"""Configures logs: one JSON object a line on stderr, or coloured lines if stderr is a terminal. Logs contain no record
and no secret."""

from __future__ import annotations

import logging
import sys

import structlog

from sluice.errors import frames_of


def _frames(exc_info: structlog.typing.ExcInfo) -> str:
    """The stack frames of an exception, without local variables, messages and notes: each of these may contain a
    record."""
    return frames_of(exc_info[1])


def configure_logs(stage: str) -> None:
    """Format the log events of the standard library and of structlog in the same way, with the name of the stage in
    each."""

    def named(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        # The stage's name is not a context variable, because that would be set in one thread only.
        event.setdefault("stage", stage)
        return event

    shared: list[structlog.typing.Processor] = [
        named,
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    final: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer() if sys.stderr.isatty() else structlog.processors.JSONRenderer()
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.ExceptionRenderer(_frames),
                final,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    # httpx2 logs query strings at INFO, and they may contain secrets. librdkafka logs each broken connection again and
    # again.
    for noisy, level in {
        "httpx2": logging.WARNING,
        "httpcore2": logging.WARNING,
        "sluice.kafka.librdkafka": logging.ERROR,
    }.items():
        logging.getLogger(noisy).setLevel(level)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
