import type { Knex } from 'knex'

/**
 * Which policy runs: each activation has the next number, and the highest one counts. Texts are never changed or deleted: any decision of the past can be made again.
 * `policy_nodes` and `rule_hits` decide nothing: who runs what, and how often rules decided. `rate_demands` is what nodes ask of rates now; a crash may empty it.
 */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    CREATE TABLE policy_activations (
      number int PRIMARY KEY CHECK (number > 0),
      revision text NOT NULL,
      text text NOT NULL,
      text_sha256 bytea NOT NULL CHECK (length(text_sha256) = 32),
      reason text NOT NULL,
      returns_to int REFERENCES policy_activations (number) CHECK (returns_to < number),
      activated_by text NOT NULL,
      activated_at timestamptz(3) NOT NULL,
      confirm_by timestamptz(3),
      state text NOT NULL CHECK (state IN ('trial', 'confirmed', 'rolled-back')),
      ended_by text,
      signature bytea NOT NULL,
      version int NOT NULL,
      mac bytea NOT NULL,
      CHECK (state = 'confirmed' OR (returns_to IS NOT NULL AND confirm_by IS NOT NULL))
    );
    CREATE INDEX policy_activations_revision ON policy_activations (revision);
    CREATE TRIGGER never_deleted BEFORE DELETE OR TRUNCATE OR UPDATE OF number, revision, text, text_sha256 ON policy_activations
      FOR EACH STATEMENT EXECUTE FUNCTION append_only();

    CREATE TABLE policy_nodes (
      node uuid PRIMARY KEY,
      number int NOT NULL,
      renewed_at timestamptz(3) NOT NULL
    );

    CREATE TABLE rule_hits (
      revision text NOT NULL,
      rule text NOT NULL,
      hits bigint NOT NULL,
      first_at timestamptz(3) NOT NULL,
      last_at timestamptz(3) NOT NULL,
      PRIMARY KEY (revision, rule)
    );

    CREATE UNLOGGED TABLE rate_demands (
      node uuid NOT NULL,
      key text NOT NULL,
      amount float8 NOT NULL,
      told_at timestamptz(3) NOT NULL,
      PRIMARY KEY (node, key)
    );
    CREATE INDEX rate_demands_key ON rate_demands (key, told_at);

    GRANT SELECT, INSERT, UPDATE, DELETE ON rate_demands TO gridseal_service;
    GRANT SELECT, INSERT ON policy_activations TO gridseal_service;
    GRANT UPDATE (state, ended_by, version, mac) ON policy_activations TO gridseal_service;
    GRANT SELECT, INSERT, UPDATE, DELETE ON policy_nodes TO gridseal_service;
    GRANT SELECT, INSERT, UPDATE ON rule_hits TO gridseal_service;
  `)
}
