-- Whether an entity has a row or a tombstone.
SELECT EXISTS (SELECT FROM {table}) OR EXISTS (SELECT FROM {tombstones} WHERE entity = %(entity)s)
