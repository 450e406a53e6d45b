"""The compose file, checked by its structure: there is no container engine where these tests run."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from sluice.embedded.kafka import SETTINGS as EMBEDDED_KAFKA
from sluice.names import STAGES
from sluice.pipeline import load_pipeline
from sluice.settings.stage import StageSettings
from support.repository import ROOT

SERVERS = {"kafka", "registry", "postgres"}
SOURCES = {"finance", "hr", "live"}


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
    return found


@pytest.fixture(scope="module")
def services(compose: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = compose["services"]
    return found


def test_every_stage_is_a_service_of_its_own_name(services: dict[str, Any]) -> None:
    assert set(services) == set(STAGES) | SERVERS | SOURCES | {"init", "prometheus", "grafana"}
    for stage in STAGES:
        assert services[stage]["command"] == ["run", stage]


def test_stages_wait_for_topics_and_schemas_and_those_for_their_servers(services: dict[str, Any]) -> None:
    for stage in STAGES:
        assert services[stage]["depends_on"]["init"] == {"condition": "service_completed_successfully"}
    needs = services["init"]["depends_on"]
    assert needs["kafka"] == needs["registry"] == {"condition": "service_healthy"}
    assert services["init"]["command"] == ["sluice topics apply && sluice schemas apply"]
    assert "restart" not in services["init"]


def test_every_service_that_another_waits_for_has_a_health_check(services: dict[str, Any]) -> None:
    for name, service in services.items():
        for other, how in service.get("depends_on", {}).items():
            assert other in services, f"{name} waits for {other}, which is not there"
            if how["condition"] == "service_healthy":
                assert "healthcheck" in services[other], (
                    f"{name} waits until {other} is healthy, but it has no health check"
                )


def test_every_lasting_service_has_a_health_check_or_is_only_a_visitor(services: dict[str, Any]) -> None:
    lasting = {name for name, service in services.items() if service.get("restart")}
    assert {name for name in lasting if "healthcheck" not in services[name]} == {"live"}


def test_settings_of_stages_are_settings_that_exist(services: dict[str, Any]) -> None:
    for name in [*STAGES, "init"]:
        for variable in services[name]["environment"]:
            if variable.startswith("SLUICE_"):
                member, *rest = variable.removeprefix("SLUICE_").lower().split("__")
                model: Any = StageSettings.model_fields[member].annotation
                for part in rest:
                    model = model.model_fields[part].annotation


def test_the_pipelines_secrets_are_set_for_every_stage(services: dict[str, Any]) -> None:
    referred = set(re.findall(r"env: (\w+)", (ROOT / "examples/workforce/pipeline.yaml").read_text("utf-8")))
    assert referred
    for stage in STAGES:
        assert referred <= set(services[stage]["environment"])


def test_passwords_come_from_the_environment(services: dict[str, Any]) -> None:
    for name, service in services.items():
        for variable, value in (service.get("environment") or {}).items():
            if "PASSWORD" in variable or "SECRET" in variable:
                assert value.startswith("${"), f"{name}: {variable} is written in the file"
            assert not re.search(r"://\w+:(?!\$\{)[^@/]+@", str(value)), f"{name}: {variable} contains a password"


def test_ports_are_published_on_loopback_only(services: dict[str, Any]) -> None:
    published = [port for service in services.values() for port in service.get("ports", [])]
    assert published
    assert [port for port in published if not port.startswith("127.0.0.1:")] == []


def test_images_are_pinned(services: dict[str, Any]) -> None:
    for name, service in services.items():
        image, _, tag = service["image"].partition(":")
        assert tag not in ("", "latest"), f"{name} takes whatever {image} is today"


def test_volumes_are_declared_and_mounted_files_exist(compose: dict[str, Any]) -> None:
    used: set[str] = set()
    for service in compose["services"].values():
        for mount in service.get("volumes", []):
            origin = mount.split(":")[0]
            if origin.startswith("."):
                assert (ROOT / origin).exists(), f"{origin} is mounted and does not exist"
            else:
                used.add(origin)
    assert used == set(compose["volumes"])


def test_no_two_services_share_a_local_state(services: dict[str, Any]) -> None:
    states = [
        mount.split(":")[0] for name in STAGES for mount in services[name]["volumes"] if mount.endswith(":/state")
    ]
    assert len(set(states)) == len(states) == len(STAGES)


def test_our_own_containers_have_no_rights_that_they_do_not_need(services: dict[str, Any]) -> None:
    for name in [*STAGES, *SOURCES, "init"]:
        assert services[name]["read_only"] is True
        assert services[name]["cap_drop"] == ["ALL"]
        assert services[name]["security_opt"] == ["no-new-privileges:true"]


def test_the_broker_is_set_like_the_embedded_one(services: dict[str, Any]) -> None:
    same = [
        "auto.create.topics.enable",
        "message.max.bytes",
        "replica.fetch.max.bytes",
        "offsets.retention.minutes",
        *(name for name in EMBEDDED_KAFKA if name.startswith(("group.", "offsets.topic", "transaction.state"))),
    ]
    environment = services["kafka"]["environment"]
    for name in same:
        assert environment[f"KAFKA_{name.upper().replace('.', '_')}"] == str(EMBEDDED_KAFKA[name]), name


def test_postgres_decodes_its_log_and_has_the_databases_that_are_asked_for(services: dict[str, Any]) -> None:
    assert "wal_level=logical" in services["postgres"]["command"]
    created = set(re.findall(r"CREATE DATABASE (\w+)", (ROOT / "deploy/postgres/databases.sql").read_text("utf-8")))
    asked = {
        match[1]
        for service in services.values()
        for value in (service.get("environment") or {}).values()
        if (match := re.search(r"postgresql://\S*?postgres:5432/(\w+)", str(value)))
    }
    assert created == asked


def test_prometheus_scrapes_every_stage_where_it_serves(services: dict[str, Any]) -> None:
    config = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text("utf-8"))
    (job,) = config["scrape_configs"]
    (found,) = job["dns_sd_configs"]
    assert sorted(found["names"]) == sorted(STAGES)
    assert {services[stage]["environment"]["SLUICE_TELEMETRY__PORT"] for stage in STAGES} == {str(found["port"])}


def test_the_example_that_is_mounted_is_a_pipeline() -> None:
    pipeline = load_pipeline(ROOT / "examples" / "workforce")
    assert pipeline.sources
    assert pipeline.sinks
