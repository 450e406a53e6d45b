"""The ERP of this example: Tryton, in an environment and a process of its own.

`environment` (its packages) → `template` (a seeded company, made once) → `server` (a run's own process);
`client/` runs inside Tryton's environment, `truth` asks its tables.
"""
