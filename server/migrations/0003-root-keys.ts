import type { Knex } from 'knex'

/** Which token this database belongs to, and what its root keys are. Written once, never changed: a token is replaced by a ceremony, not by an UPDATE. */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    CREATE TABLE root_keys (
      key_id text PRIMARY KEY,
      token_serial text NOT NULL,
      algorithm text NOT NULL CHECK (algorithm IN ('ec-p256', 'ed25519', 'aes-256')),
      public_key bytea,
      kcv_method text,
      kcv bytea,
      recorded_at timestamptz(3) NOT NULL DEFAULT now(),
      CHECK ((public_key IS NULL) <> (kcv IS NULL)),
      CHECK ((kcv_method IS NULL) = (kcv IS NULL))
    );
    GRANT SELECT, INSERT ON root_keys TO gridseal_service;
  `)
}
