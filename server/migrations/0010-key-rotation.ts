import type { Knex } from 'knex'

/** Sealed tables whose rows the service could not change so far. Of these it may now put another MAC to a row, and nothing else. */
const MAC_ALONE = [
  ...['bootstrap', 'transport_keys', 'card_masters', 'card_profiles', 'binding_conflicts'],
  ...['token_key_backups', 'token_adoptions', 'audit_groups'],
] as const

/** Keys under the storage KEK whose rows the service could not change so far. */
const REWRAPPED = ['cards', 'operator_keys', 'row_mac_keys', 'attestation_decoys'] as const

/** What these triggers keep from everybody: all columns but the MAC, which a rotation of its key makes anew over the same row. */
const APPEND_ONLY: Readonly<Record<string, { readonly check: string; readonly columns: string }>> = {
  audit_groups: { check: 'audit_append_only', columns: 'writer, epoch, first_seq, count, bundle, chain, created_at' },
  token_key_backups: {
    check: 'append_only',
    columns: 'id, key_id, token_serial, kek, recipient, algorithm, wrapped, public_key, kcv_method, kcv, recorded_at',
  },
  token_adoptions: {
    check: 'append_only',
    columns: 'number, operation_id, kind, old_serial, new_serial, old_algorithm, old_key, new_algorithm, new_key, log_size, adopted_at, version',
  },
}

/**
 * Generations of the root keys, and their rotations. `root_keys` stays as the first start wrote it; a key that was never rotated has no generation here.
 * INVARIANT: rows of generations are never deleted and their versions only grow, so that the sum of the versions tells who knows the newest state.
 */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    CREATE TABLE root_key_rotations (
      id text PRIMARY KEY,
      key text NOT NULL CHECK (key IN ('storage-kek', 'row-mac', 'group-mac')),
      from_generation int NOT NULL CHECK (from_generation > 0),
      to_generation int NOT NULL CHECK (to_generation > from_generation),
      reason text NOT NULL,
      salt bytea NOT NULL CHECK (length(salt) = 16),
      state text NOT NULL CHECK (state IN ('requested', 'making', 'working', 'closing', 'retired', 'cancelled')),
      requested_by text NOT NULL,
      requested_at timestamptz(3) NOT NULL,
      decided_by text CHECK (decided_by <> requested_by OR state = 'cancelled'),
      decided_at timestamptz(3),
      -- the pass over all rows that is under way, and how far it is
      pass int NOT NULL CHECK (pass >= 0),
      cursor_table text,
      cursor_key text,
      rows_total bigint NOT NULL,
      rows_seen bigint NOT NULL,
      -- of this pass: under the old generation
      rows_found bigint NOT NULL,
      -- of this pass: of no generation
      rows_refused bigint NOT NULL,
      -- of the pass before
      rows_refused_before bigint NOT NULL,
      -- how many of these two officers have given up
      refused_accepted bigint NOT NULL,
      -- of all passes: brought under the new one
      rows_renewed bigint NOT NULL,
      began_at timestamptz(3),
      pass_began_at timestamptz(3),
      ended_at timestamptz(3),
      version int NOT NULL,
      mac bytea NOT NULL,
      CHECK ((decided_by IS NULL) = (decided_at IS NULL)),
      CHECK ((state = 'requested') = (decided_by IS NULL))
    );
    CREATE UNIQUE INDEX root_key_rotations_one_open ON root_key_rotations ((true)) WHERE state NOT IN ('retired', 'cancelled');

    CREATE TABLE root_key_generations (
      key_id text PRIMARY KEY,
      state text NOT NULL CHECK (state IN ('current', 'older', 'closing', 'retired')),
      kcv_method text NOT NULL,
      kcv bytea NOT NULL,
      rotation_id text NOT NULL REFERENCES root_key_rotations,
      recorded_at timestamptz(3) NOT NULL DEFAULT now(),
      version int NOT NULL,
      mac bytea NOT NULL
    );

    GRANT SELECT, INSERT ON root_key_rotations, root_key_generations TO gridseal_service;
    GRANT UPDATE (state, version, mac) ON root_key_generations TO gridseal_service;
    GRANT UPDATE (state, decided_by, decided_at, pass, cursor_table, cursor_key, rows_total, rows_seen, rows_found, rows_refused, rows_refused_before, refused_accepted, rows_renewed, began_at, pass_began_at,
      ended_at, version, mac) ON root_key_rotations TO gridseal_service;
    GRANT UPDATE (mac) ON ${MAC_ALONE.join(', ')} TO gridseal_service;
    GRANT UPDATE (wrapped, version, mac) ON ${REWRAPPED.join(', ')} TO gridseal_service;
    CREATE TRIGGER never_deleted BEFORE DELETE OR TRUNCATE ON root_key_generations FOR EACH STATEMENT EXECUTE FUNCTION append_only();
  `)
  for (const [table, { check, columns }] of Object.entries(APPEND_ONLY)) {
    await knex.raw(`
      DROP TRIGGER append_only ON ${table};
      CREATE TRIGGER append_only BEFORE DELETE OR TRUNCATE OR UPDATE OF ${columns} ON ${table} FOR EACH STATEMENT EXECUTE FUNCTION ${check}();
    `)
  }
}
