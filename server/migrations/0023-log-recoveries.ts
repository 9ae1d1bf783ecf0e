import type { Knex } from 'knex'

/**
 * Recoveries of the log from the loss of entries: the owner's, as adoptions of tokens are. What must never be issued twice goes on above them: a card's sequence
 * number tells how many of them it is above.
 */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    CREATE TABLE log_recoveries (
      number int PRIMARY KEY CHECK (number > 0),
      operation_id uuid NOT NULL UNIQUE,
      adoptions int NOT NULL CHECK (adoptions >= 0),
      old_key text NOT NULL,
      new_key text NOT NULL,
      log_size bigint NOT NULL CHECK (log_size >= 0),
      lost_size bigint NOT NULL CHECK (lost_size > log_size),
      lost_root bytea CHECK (octet_length(lost_root) = 32),
      crl_number bigint NOT NULL CHECK (crl_number >= 0),
      iccids text NOT NULL,
      reason text NOT NULL,
      recovered_at text NOT NULL,
      version int NOT NULL,
      mac bytea NOT NULL
    );
    CREATE TRIGGER append_only BEFORE DELETE OR TRUNCATE OR UPDATE OF number, operation_id, adoptions, old_key, new_key, log_size, lost_size, lost_root, crl_number,
        iccids, reason, recovered_at, version
      ON log_recoveries FOR EACH STATEMENT EXECUTE FUNCTION append_only();
    GRANT SELECT, UPDATE (mac) ON log_recoveries TO gridseal_service;

    ALTER TABLE attestation_sqn ADD COLUMN recoveries int NOT NULL DEFAULT 0 CHECK (recoveries >= 0);
    GRANT UPDATE (recoveries) ON attestation_sqn TO gridseal_service;
  `)
}
