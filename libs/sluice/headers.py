"""The names of all Kafka headers that Sluice writes. `docs/reference/headers.md` says what each one contains."""

# Headers of polled raw records, as CloudEvents in binary mode.
CE_SPECVERSION_HEADER = "ce_specversion"
CE_ID_HEADER = "ce_id"
CE_SOURCE_HEADER = "ce_source"
CE_TYPE_HEADER = "ce_type"
CE_SUBJECT_HEADER = "ce_subject"
CE_TIME_HEADER = "ce_time"
CONTENT_TYPE_HEADER = "content-type"

# Headers of stored HTTP responses.
HTTP_METHOD_HEADER = "http.method"
HTTP_URL_HEADER = "http.url"
HTTP_STATUS_HEADER = "http.status"
HTTP_HEADERS_HEADER = "http.headers"

TRACE_HEADER = "traceparent"
POSITION_HEADER = "sluice-position"
OP_HEADER = "sluice-op"
ORIGIN_HEADER = "sluice-origin-ms"
RESPONSE_HEADER = "sluice-response"
FETCHED_HEADER = "sluice-fetched-ms"
TRUNCATED_HEADER = "sluice-truncated-bytes"
SHA256_HEADER = "sluice-sha256"
CONTENT_HEADER = "sluice-content"
REVISION_HEADER = "sluice-revision"
OVER_HEADER = "sluice-over"

# These headers name the columns whose value is unchanged or unknown. A reader never infers this from a value, because a
# value that equals Debezium's placeholder can be real data.
UNCHANGED_HEADER = "sluice-unchanged"
UNKNOWN_HEADER = "sluice-unknown"
ROW_GONE_HEADER = "sluice-row-gone"
OLD_KEY_HEADER = "__debezium.oldkey"
NEW_KEY_HEADER = "__debezium.newkey"

CONNECT = "__connect.errors."
"""The prefix of the headers that Kafka Connect defines for dead letters."""
CAUSE_HEADER = "sluice-cause"
KIND_HEADER = "sluice-kind"
ATTEMPT_HEADER = "sluice-attempt"
PARKED_HEADER = "sluice-parked-ms"
MAPPING_VERSION_HEADER = "sluice-mapping-version"
KEY_TRUNCATED_HEADER = "sluice-key-truncated-bytes"
LEFT_OUT_HEADER = "sluice-headers-left-out"
