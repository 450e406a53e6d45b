-- Every line of every move, drafts included. Amounts with four decimals, as the contract has them.
SELECT 'L-' || line.id                                     AS entity_id,
       'L-' || line.id                                     AS line_number,
       round(line.debit, 4)::text                          AS debit,
       round(line.credit, 4)::text                         AS credit,
       jsonb_build_object('amount', round(line.debit - line.credit, 4)::text,
                          'currency', currency.code)       AS amount,
       line.description                                    AS description,
       account.code                                        AS account_code,
       account.name                                        AS account_name,
       move.number                                         AS move_number,
       move.state                                          AS move_state,
       move.date::text                                     AS booked_on,
       party.code                                          AS party_code
  FROM account_move_line line
  JOIN account_move move ON move.id = line.move
  JOIN account_account account ON account.id = line.account
  JOIN company_company company ON company.id = move.company
  JOIN currency_currency currency ON currency.id = company.currency
  LEFT JOIN party_party party ON party.id = line.party
