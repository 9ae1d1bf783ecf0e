import type { Knex } from 'knex'

/**
 * Orders say where their cards belong; those of before say nothing, and stay sealed as they are. Attempts to log in are counted over all nodes: what is counted decides
 * nothing but how long a guesser waits, and is not sealed. Sessions are deleted long after their time.
 */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    ALTER TABLE orders ADD COLUMN region text CHECK (region ~ '^[1-9][0-9]{5}$');

    -- Of unknown devices, by the name (a MAC of it: people type passwords there) or the network that was tried.
    CREATE TABLE login_budgets (
      key text PRIMARY KEY,
      tokens float8 NOT NULL,
      burst float8 NOT NULL,
      every_ms float8 NOT NULL CHECK (every_ms > 0),
      at timestamptz NOT NULL
    );
    CREATE TABLE person_wrong_codes (
      person_id text PRIMARY KEY REFERENCES persons,
      count int NOT NULL
    );
    GRANT SELECT, INSERT, UPDATE, DELETE ON login_budgets, person_wrong_codes TO gridseal_service;

    CREATE INDEX person_sessions_by_end ON person_sessions (expires_at);
    GRANT DELETE ON person_sessions, person_session_uses TO gridseal_service;
  `)
}
