import type { Knex } from 'knex'

/** What witnesses said of checkpoints. Not trusted: each line is verified when it is used. */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    -- Cosignatures (C2SP tlog-cosignature), a line each, as the witness gave it.
    CREATE TABLE audit_cosignatures (
      size bigint NOT NULL,
      key text NOT NULL,
      line text NOT NULL,
      received_at timestamptz NOT NULL DEFAULT clock_timestamp(),
      PRIMARY KEY (key, size)
    );
    CREATE INDEX audit_cosignatures_size ON audit_cosignatures (size);

    -- Checkpoints that satisfied the policy of witnesses when their last cosignature came.
    CREATE TABLE audit_witnessed (
      size bigint PRIMARY KEY
    );

    GRANT SELECT, INSERT ON audit_cosignatures, audit_witnessed TO gridseal_service;
  `)
  for (const table of ['audit_cosignatures', 'audit_witnessed']) {
    await knex.raw(`CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ${table} FOR EACH STATEMENT EXECUTE FUNCTION audit_append_only()`)
  }
}
