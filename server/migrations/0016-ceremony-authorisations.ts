import type { Knex } from 'knex'

/**
 * Two officers' decisions on ceremonies of the command line. An adoption names the one that it used up: none is used twice. What ceremonies did, until the log has
 * it, is sealed from here on (`ceremony_notes`, in place of `token_ceremonies`).
 */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    CREATE TABLE ceremony_authorisations (
      id uuid PRIMARY KEY,
      ceremony text NOT NULL CHECK (ceremony IN ('adopt-token', 'replace-checkpoint-key')),
      token text NOT NULL,
      authorised_by text NOT NULL,
      authorised_at timestamptz(3) NOT NULL,
      expires_at timestamptz(3) NOT NULL CHECK (expires_at > authorised_at),
      version int NOT NULL,
      mac bytea NOT NULL
    );
    CREATE TRIGGER append_only BEFORE DELETE OR TRUNCATE OR UPDATE OF id, ceremony, token, authorised_by, authorised_at, expires_at, version
      ON ceremony_authorisations FOR EACH STATEMENT EXECUTE FUNCTION append_only();

    ALTER TABLE token_adoptions ADD COLUMN authorisation uuid UNIQUE REFERENCES ceremony_authorisations;
    DROP TRIGGER append_only ON token_adoptions;
    CREATE TRIGGER append_only BEFORE DELETE OR TRUNCATE OR UPDATE OF number, operation_id, kind, old_serial, new_serial, old_algorithm, old_key, new_algorithm, new_key,
        log_size, adopted_at, authorisation, version
      ON token_adoptions FOR EACH STATEMENT EXECUTE FUNCTION append_only();

    DROP TABLE token_ceremonies;
    CREATE TABLE ceremony_notes (
      operation_id uuid PRIMARY KEY,
      operation text NOT NULL,
      facts text NOT NULL,
      held_at timestamptz NOT NULL DEFAULT clock_timestamp(),
      version int NOT NULL,
      mac bytea NOT NULL
    );
    CREATE TRIGGER append_only BEFORE DELETE OR TRUNCATE OR UPDATE OF operation_id, operation, facts, held_at, version
      ON ceremony_notes FOR EACH STATEMENT EXECUTE FUNCTION append_only();

    GRANT SELECT, INSERT ON ceremony_authorisations, ceremony_notes TO gridseal_service;
    GRANT UPDATE (mac) ON ceremony_authorisations, ceremony_notes TO gridseal_service;
  `)
}
