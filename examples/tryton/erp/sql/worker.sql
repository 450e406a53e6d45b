-- Every employee, also those who have left. The name and the code live in the employee's party.
SELECT 'E-' || employee.id            AS entity_id,
       'E-' || employee.id            AS employee_number,
       party.name                     AS full_name,
       party.code                     AS party_code,
       owner.name                     AS company,
       (extract(epoch FROM employee.create_date) * 1000000)::bigint AS recorded_at,
       employee.start_date::text      AS started_on,
       employee.end_date::text        AS left_on,
       'E-' || employee.supervisor    AS supervisor
  FROM company_employee employee
  JOIN party_party party ON party.id = employee.party
  JOIN company_company company ON company.id = employee.company
  JOIN party_party owner ON owner.id = company.party
