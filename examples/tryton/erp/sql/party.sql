-- Every party, inactive ones included.
SELECT party.code                     AS entity_id,
       party.code                     AS code,
       party.name                     AS name,
       coalesce(party.active, false)  AS active,
       (extract(epoch FROM party.create_date) * 1000000)::bigint AS recorded_at,
       (SELECT 'E-' || max(employee.id)
          FROM company_employee employee
         WHERE employee.party = party.id) AS employee_number
  FROM party_party party
