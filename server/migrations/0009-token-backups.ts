import type { Knex } from 'knex'

/**
 * Backups of the keys that live in the token; tokens that took the place of others, and successors of the checkpoint key; and what ceremonies of the command
 * line did, until the log has it. `root_keys` stays as the first start wrote it: what counts is it with every adoption after it. Adoptions are the owner's.
 */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    CREATE FUNCTION append_only() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      RAISE EXCEPTION 'rows are only added: % on %', TG_OP, TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
    END $$;

    CREATE TABLE token_key_backups (
      id text PRIMARY KEY,
      key_id text NOT NULL,
      token_serial text NOT NULL,
      kek bytea NOT NULL CHECK (length(kek) = 5),
      recipient bytea CHECK (length(recipient) = 32),
      algorithm text NOT NULL CHECK (algorithm IN ('ec-p256', 'aes-256')),
      wrapped bytea NOT NULL,
      public_key bytea,
      kcv_method text,
      kcv bytea,
      mac bytea NOT NULL,
      recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
      CHECK ((recipient IS NOT NULL)::int + (public_key IS NOT NULL)::int + (kcv IS NOT NULL)::int = 1),
      CHECK ((kcv_method IS NULL) = (kcv IS NULL))
    );

    CREATE TABLE token_adoptions (
      number int PRIMARY KEY CHECK (number > 0),
      operation_id uuid NOT NULL UNIQUE,
      kind text NOT NULL CHECK (kind IN ('token-restored', 'checkpoint-key-replaced')),
      old_serial text NOT NULL,
      new_serial text NOT NULL,
      old_algorithm text NOT NULL CHECK (old_algorithm IN ('ec-p256', 'ed25519')),
      old_key bytea NOT NULL,
      new_algorithm text NOT NULL CHECK (new_algorithm IN ('ec-p256', 'ed25519')),
      new_key bytea NOT NULL,
      log_size bigint NOT NULL CHECK (log_size >= 0),
      adopted_at text NOT NULL,
      version int NOT NULL,
      mac bytea NOT NULL
    );

    CREATE TABLE token_ceremonies (
      operation_id uuid PRIMARY KEY,
      operation text NOT NULL,
      facts jsonb NOT NULL,
      held_at timestamptz NOT NULL DEFAULT clock_timestamp()
    );

    GRANT SELECT, INSERT ON token_key_backups, token_ceremonies TO gridseal_service;
    GRANT SELECT ON token_adoptions TO gridseal_service;
  `)
  for (const table of ['token_key_backups', 'token_adoptions', 'token_ceremonies']) {
    await knex.raw(`CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ${table} FOR EACH STATEMENT EXECUTE FUNCTION append_only()`)
  }
}
