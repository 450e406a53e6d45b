"""The hands that edit the workforce example's sources in a test: HR through its admin paths, finance by SQL."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, LiteralString

import httpx2
import psycopg

from sluice.http import tls_context
from support.pace import within

TIMEOUT_S = 30.0
_HTTP = httpx2.Client(verify=tls_context())


class Sources:
    """`env`: the variables that the example's driver gave (HR_URL, FINANCE_DSN)."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self.hr_url = env["HR_URL"]
        self._dsn = env["FINANCE_DSN"]

    def hr(self, path: str, **body: Any) -> Any:
        """POST to an admin path; the answer's JSON."""
        answer = _HTTP.post(f"{self.hr_url}/_admin/{path}", json=body, timeout=within(TIMEOUT_S))
        return answer.raise_for_status().json()

    def promote(self, worker: int, title: str) -> None:
        """HR gives a worker another job; who was dismissed by live edits is hired again for it."""
        at = f"{self.hr_url}/_admin/workers/W-{worker}"
        answer = _HTTP.post(at, json={"jobTitle": title}, timeout=within(TIMEOUT_S))
        if answer.status_code == httpx2.codes.NOT_FOUND:
            again = {"employeeNumber": f"E-{worker:05d}", "name": f"Rehired, {worker}", "jobTitle": title}
            answer = _HTTP.put(at, json=again, timeout=within(TIMEOUT_S))
        answer.raise_for_status()

    def spoil(self, kind: str, count: int = 1) -> None:
        """The next `count` answers of the HR API go wrong in the way that `kind` names."""
        self.hr("faults", kind=kind, count=count)

    def spoilt_left(self) -> int:
        """How many spoilt answers were not fetched yet."""
        stats = _HTTP.get(f"{self.hr_url}/_admin/stats", timeout=within(TIMEOUT_S)).raise_for_status()
        return int(stats.json()["faults_waiting"])

    def finance(self, query: LiteralString, *parameters: object) -> list[tuple[Any, ...]]:
        """One statement in a transaction of its own; its rows, if it has some."""
        with psycopg.connect(self._dsn, autocommit=True, connect_timeout=60) as connection:
            cursor = connection.execute(query, parameters)
            return cursor.fetchall() if cursor.description else []

    def notes(self, employee: str) -> str | None:
        found = self.finance("SELECT notes FROM public.payroll WHERE employee_number = %s", employee)
        return str(found[0][0]) if found and found[0][0] is not None else None

    def annotate(self, employee: str, notes: str | None) -> None:
        """Finance writes a remark on somebody's payroll."""
        query = "UPDATE public.payroll SET notes = %s, updated_at = %s WHERE employee_number = %s"
        self.finance(query, notes, datetime.now(UTC), employee)

    def raise_pay(self, employee: str, amount: int) -> None:
        """An update that does not touch `notes`, so that large ones are left out of the change."""
        query = "UPDATE public.payroll SET base_pay = %s, updated_at = %s WHERE employee_number = %s"
        self.finance(query, amount, datetime.now(UTC), employee)

    def paid(self, count: int) -> list[str]:
        """Employee numbers of some who are on the payroll, the same at every call."""
        rows = self.finance("SELECT employee_number FROM public.payroll ORDER BY employee_number LIMIT %s", count)
        return [row[0] for row in rows]
