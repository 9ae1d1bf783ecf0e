import type { Knex } from 'knex'

/** Who may call, and the mark that the first two officers are enrolled. Callers are never deleted: a name is given once. */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    CREATE TABLE callers (
      id text PRIMARY KEY,
      kind text NOT NULL,
      name text NOT NULL,
      state text NOT NULL,
      registered_by text NOT NULL,
      registered_at text NOT NULL,
      version int NOT NULL,
      mac bytea NOT NULL,
      UNIQUE (kind, name)
    );
    CREATE TABLE bootstrap (
      id int PRIMARY KEY CHECK (id = 1),
      officers text[] NOT NULL,
      mac bytea NOT NULL
    );
    GRANT SELECT, INSERT ON callers, bootstrap TO gridseal_service;
    GRANT UPDATE (state, version, mac) ON callers TO gridseal_service;
  `)
}
