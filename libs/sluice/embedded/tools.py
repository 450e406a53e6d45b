"""Runs Kafka's command-line tools with the jars of the embedded broker. Tests use these tools, because operators use
them."""

from __future__ import annotations

import subprocess

from sluice.embedded import aot
from sluice.embedded.artifacts import listed
from sluice.embedded.fetching import fetch
from sluice.embedded.java import find_java

CONSUMER_GROUPS = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"
CONSOLE_CONSUMER = "org.apache.kafka.tools.consumer.ConsoleConsumer"


def kafka_tool(main_class: str, *arguments: str, timeout_s: float = 60.0) -> subprocess.CompletedProcess[str]:
    """Run a command-line tool of Kafka and return its exit code and output. Blocks; the first call may download a jar.

    Many tools exit with 0 although they printed an error, so check the output as well. Raises EnvironmentFault if Java
    or a jar cannot be found, subprocess.TimeoutExpired after `timeout_s`.
    """
    fetched = fetch(listed(["broker", "tools"]), lambda _line: None)
    class_path = ":".join(map(str, fetched.of("broker", "tools")))
    jvm = [str(find_java().path), "-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData"]
    jvm += aot.of_kafka(
        fetched.of("broker")
    ).flags()  # tool and broker share classes, so the broker's cache of classes helps
    command = [*jvm, "-cp", class_path, main_class, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
