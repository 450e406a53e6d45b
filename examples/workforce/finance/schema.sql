-- The finance department's database. Idempotent. Replica identities stay at their default (the primary key), so that
-- a delete contains only the key, and an update leaves out a large `notes` that it did not touch.

CREATE TABLE IF NOT EXISTS public.cost_centre (
    code                  text PRIMARY KEY,
    name                  text NOT NULL,
    owner_employee_number text,
    currency              char(3) NOT NULL,
    updated_at            timestamptz NOT NULL
);

CREATE TABLE IF NOT EXISTS public.payroll (
    employee_number text PRIMARY KEY,
    base_pay        numeric(18, 2) NOT NULL,
    currency        char(3) NOT NULL,
    iban            text,
    cost_centre     text,           -- no foreign key: closed cost centres stay on old payrolls
    notes           text,           -- an HR clerk's remarks; some fill many pages
    effective_from  date,
    updated_at      timestamptz NOT NULL
);

CREATE TABLE IF NOT EXISTS public.ledger_entry (
    id              bigint PRIMARY KEY,
    cost_centre     text NOT NULL,
    employee_number text,
    booked_at       timestamptz NOT NULL,
    amount          numeric(18, 2) NOT NULL,
    currency        char(3) NOT NULL,
    text            text
);
