"""The Helm chart, rendered offline and judged by the API schemas of every Kubernetes version that it claims."""

from __future__ import annotations

from typing import Any

import helm_python
import kubernetes_validate
import pytest
import yaml

from sluice.names import STAGES
from sluice.settings.stage import StageSettings, read_settings
from support.repository import ROOT

CHART = ROOT / "helm" / "sluice"
NEEDED: dict[str, Any] = {
    "kafka": {"bootstrapServers": "kafka:9092"},
    "registry": {"url": "http://registry:8080/apis/ccompat/v7"},
}
EVERYTHING: dict[str, Any] = {
    **NEEDED,
    "kafka": {
        **NEEDED["kafka"],
        "options": {"security.protocol": "SASL_SSL", "sasl.mechanism": "SCRAM-SHA-512", "sasl.username": "sluice"},
    },
    "imagePullSecrets": ["registry-login"],
    "secretRefs": ["pipeline-secrets"],
    "secretFiles": [{"name": "erp", "mountPath": "/secrets/erp"}],
    "env": {"SLUICE_BATCH_RECORDS_MAX": "2000"},
    "stages": {"mapper": {"replicas": 3, "env": {"SLUICE_BATCH_BYTES_MAX": "1000000"}, "podLabels": {"team": "data"}}},
    "telemetry": {"podMonitor": {"enabled": True, "labels": {"release": "prometheus"}}},
}
VERSIONS = ["1.31", "1.32", "1.33", "1.34", "1.35", "1.36", "1.37"]


@pytest.fixture(scope="module")
def chart() -> helm_python.Chart:
    return helm_python.Chart.load(str(CHART))


def rendered(chart: helm_python.Chart, values: dict[str, Any]) -> list[dict[str, Any]]:
    manifests = chart.render(values, name="gold", namespace="data")
    texts = [text for path, text in manifests.items() if not path.endswith("NOTES.txt")]
    return [manifest for text in texts for manifest in yaml.safe_load_all(text) if manifest]


def by_stage(manifests: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    stateful = [m for m in manifests if m["kind"] == "StatefulSet"]
    return {m["metadata"]["labels"]["app.kubernetes.io/component"]: m for m in stateful}


def container(manifest: dict[str, Any]) -> dict[str, Any]:
    (only,) = manifest["spec"]["template"]["spec"]["containers"]
    found: dict[str, Any] = only
    return found


def test_the_chart_passes_lint_and_names_what_has_no_default() -> None:
    report = helm_python.lint(str(CHART), NEEDED, strict=True)
    assert report["errors"] == []
    unset = " ".join(helm_python.lint(str(CHART))["errors"])
    assert "/kafka/bootstrapServers" in unset
    assert "/registry/url" in unset


@pytest.mark.parametrize(
    ("values", "version"), [(NEEDED, VERSIONS[-1]), *((EVERYTHING, version) for version in VERSIONS)]
)
def test_every_manifest_is_valid_for_every_version_of_kubernetes(
    chart: helm_python.Chart, values: dict[str, Any], version: str
) -> None:
    for manifest in rendered(chart, values):
        if not manifest["apiVersion"].startswith("monitoring.coreos.com"):
            kubernetes_validate.validate(manifest, version, strict=True)


def test_every_stage_runs_under_its_own_name(chart: helm_python.Chart) -> None:
    stages = by_stage(rendered(chart, NEEDED))
    assert set(stages) == set(STAGES)
    for name, manifest in stages.items():
        assert container(manifest)["args"] == ["run", name]
        assert manifest["metadata"]["name"] == f"gold-sluice-{name}"


def test_the_instance_is_the_pods_number_so_that_a_restart_fences_its_own_transactions(
    chart: helm_python.Chart,
) -> None:
    for manifest in by_stage(rendered(chart, EVERYTHING)).values():
        (instance,) = [e for e in container(manifest)["env"] if e["name"] == "SLUICE_INSTANCE"]
        assert instance["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.labels['apps.kubernetes.io/pod-index']"


def test_every_process_is_unprivileged(chart: helm_python.Chart) -> None:
    for manifest in rendered(chart, EVERYTHING):
        if manifest["kind"] not in ("StatefulSet", "Job"):
            continue
        pod = manifest["spec"]["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] > 0
        assert pod["automountServiceAccountToken"] is False
        security = container(manifest)["securityContext"]
        assert security["allowPrivilegeEscalation"] is False
        assert security["readOnlyRootFilesystem"] is True
        assert security["capabilities"] == {"drop": ["ALL"]}
        assert not container(manifest)["image"].endswith(":latest")


def test_probes_ask_the_questions_that_they_are_made_for(chart: helm_python.Chart) -> None:
    for manifest in by_stage(rendered(chart, NEEDED)).values():
        probes = container(manifest)
        assert probes["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": "telemetry"}
        assert probes["startupProbe"]["httpGet"] == {"path": "/healthz", "port": "telemetry"}
        assert probes["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "telemetry"}


def test_what_is_written_is_mounted(chart: helm_python.Chart) -> None:
    for manifest in rendered(chart, EVERYTHING):
        if manifest["kind"] not in ("StatefulSet", "Job"):
            continue
        claims = manifest["spec"].get("volumeClaimTemplates", [])
        volumes = manifest["spec"]["template"]["spec"]["volumes"]
        there = [v["name"] for v in volumes] + [c["metadata"]["name"] for c in claims]
        mounts = {m["name"]: m["mountPath"] for m in container(manifest)["volumeMounts"]}
        assert sorted(there) == sorted(mounts)
        assert mounts["state"] == "/state"
        assert mounts["tmp"] == "/tmp"  # noqa: S108 - of a container


def test_the_config_map_says_what_a_stage_understands(
    chart: helm_python.Chart, monkeypatch: pytest.MonkeyPatch
) -> None:
    (config,) = [m for m in rendered(chart, EVERYTHING) if m["kind"] == "ConfigMap"]
    for name, value in config["data"].items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SLUICE_KAFKA__OPTIONS__sasl.password", "from a secret")
    settings = read_settings(StageSettings)
    assert settings.kafka.bootstrap_servers == "kafka:9092"
    assert settings.kafka.options == {
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": "sluice",
        "sasl.password": "from a secret",
    }
    assert settings.batch_records_max == 2000
    assert settings.telemetry.port == 9100
    understood = {name.split("__")[0].removeprefix("SLUICE_").lower() for name in config["data"]}
    assert understood <= set(StageSettings.model_fields)


def test_changed_settings_restart_the_stages(chart: helm_python.Chart) -> None:
    def checksum(values: dict[str, Any]) -> str:
        manifest = by_stage(rendered(chart, values))["mapper"]
        return str(manifest["spec"]["template"]["metadata"]["annotations"]["checksum/settings"])

    assert checksum(NEEDED) == checksum(NEEDED)
    assert checksum(NEEDED) != checksum({**NEEDED, "env": {"SLUICE_BATCH_RECORDS_MAX": "1"}})


def test_a_stage_that_is_off_leaves_nothing_behind(chart: helm_python.Chart) -> None:
    manifests = rendered(chart, {**NEEDED, "stages": {"ingress-poller": {"enabled": False}}})
    assert set(by_stage(manifests)) == set(STAGES) - {"ingress-poller"}
    assert not [m for m in manifests if m["metadata"]["name"].endswith("ingress-poller")]


def test_each_revision_has_an_init_job_of_its_own(chart: helm_python.Chart) -> None:
    def jobs(revision: int) -> list[str]:
        manifests = chart.render(NEEDED, name="gold", namespace="data", revision=revision)
        return [yaml.safe_load(t)["metadata"]["name"] for p, t in manifests.items() if p.endswith("init-job.yaml")]

    assert jobs(1) == ["gold-sluice-init-1"]
    assert jobs(2) == ["gold-sluice-init-2"]


def test_the_pod_monitor_finds_the_port_and_names_the_job_after_the_stage(chart: helm_python.Chart) -> None:
    (monitor,) = [m for m in rendered(chart, EVERYTHING) if m["kind"] == "PodMonitor"]
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    ports = [p["name"] for p in container(by_stage(rendered(chart, EVERYTHING))["mapper"])["ports"]]
    assert endpoint["port"] in ports
    assert monitor["spec"]["jobLabel"] == "app.kubernetes.io/component"
    assert monitor["metadata"]["labels"]["release"] == "prometheus"
    assert not [m for m in rendered(chart, NEEDED) if m["kind"] == "PodMonitor"]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"replicas": 3}, "replicas"),
        ({"image": {"tags": "1"}}, "tags"),
        ({"image": {"repository": "sluice", "tag": "latest"}}, "/image/tag"),
        ({"stages": {"maper": {}}}, "maper"),
        ({"stages": {"mapper": {"replica": 2}}}, "replica"),
        ({"stages": {"mapper": {"replicas": "2"}}}, "/stages/mapper/replicas"),
        ({"stages": {"mapper": {"persistence": {"size": "big"}}}}, "/stages/mapper/persistence/size"),
        ({"stages": {"ingress-cdc": {"replicas": 2}}}, "/stages/ingress-cdc/replicas"),
        ({"stageDefaults": {"cpu": "1"}}, "cpu"),
        ({"kafka": {"bootstrapServers": "k:9092", "options": {"sasl.password": "open"}}}, "sasl.password"),
        ({"telemetry": {"port": 80}}, "/telemetry/port"),
    ],
)
def test_values_that_the_chart_does_not_know_are_refused(
    chart: helm_python.Chart, bad: dict[str, Any], message: str
) -> None:
    with pytest.raises(helm_python.HelmValuesError, match=message):
        chart.render({**NEEDED, **bad}, name="gold", namespace="data")


def test_no_default_can_ask_for_two_readers_of_a_slot(chart: helm_python.Chart) -> None:
    # The values schema sees the stage's own entry; a default reaches it behind the schema's back.
    values = {**NEEDED, "stageDefaults": {"replicas": 2}, "stages": {"ingress-cdc": {"replicas": None}}}
    with pytest.raises(helm_python.HelmError, match="one reader"):
        chart.render(values, name="gold", namespace="data")


def test_every_object_of_the_values_schema_is_closed() -> None:
    schema = yaml.safe_load((CHART / "values.schema.json").read_text("utf-8"))
    open_ended: list[str] = []

    def walk(node: Any, where: str) -> None:
        if isinstance(node, dict):
            if "properties" in node and node.get("type") == "object" and node.get("additionalProperties") is not False:
                open_ended.append(where)
            for key, value in node.items():
                walk(value, f"{where}/{key}")

    walk(schema, "")
    assert open_ended == []
    assert set(schema["properties"]["stages"]["properties"]) == set(STAGES)
