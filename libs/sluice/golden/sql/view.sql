-- One row per entity and field: the value and its origin. The origin is null if no source claims the field.
CREATE OR REPLACE VIEW {view} AS
SELECT t.entity_id,
       f.field,
       f.value,
       c.contributor ->> 'source'                        AS source,
       c.contributor ->> 'stream'                        AS stream,
       c.contributor ->> 'source_key'                    AS source_key,
       c.contributor ->> 'topic'                         AS topic,
       (c.contributor ->> 'partition')::integer          AS partition,
       (c.contributor ->> 'offset')::bigint              AS "offset",
       timestamptz 'epoch' + (c.contributor ->> 'observed_at')::bigint * interval '1 microsecond' AS observed_at,
       c.contributor ->> 'mapping'                       AS mapping,
       (c.contributor ->> 'mapping_version')::integer    AS mapping_version,
       w.winner ->> 'rule'                               AS rule
FROM {table} AS t
CROSS JOIN LATERAL (VALUES {fields}) AS f(field, value)
LEFT JOIN LATERAL jsonb_array_elements(t._provenance -> 'winners') AS w(winner) ON w.winner ->> 'field' = f.field
LEFT JOIN LATERAL (
    SELECT t._provenance -> 'contributors' -> (w.winner ->> 'contributor')::integer AS contributor
) AS c ON true
