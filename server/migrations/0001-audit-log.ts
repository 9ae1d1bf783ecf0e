import type { Knex } from 'knex'

/** Rows of `audit_entries` in one partition: of those that are made here, and later ({@link makePartitions}). */
export const PARTITION_ROWS = 10_000_000
const PARTITIONS = 20

const APPEND_ONLY = ['audit_writers', 'audit_groups', 'audit_entries', 'audit_tiles', 'audit_checkpoints'] as const

/**
 * The tamper-evident log. What is acknowledged stands in audit_groups; audit_entries, tiles and checkpoints are derived from it by the sequencer.
 * The service's role may not change or delete what was appended; the triggers say so to the owner as well.
 */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    CREATE FUNCTION audit_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      RAISE EXCEPTION 'the audit log is append-only: % on %', TG_OP, TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
    END $$;

    -- One row for each time that a writer slot was taken. The slot's advisory lock is the fence; the epoch names its holder.
    CREATE TABLE audit_writers (
      writer int NOT NULL CHECK (writer >= 0),
      epoch int NOT NULL CHECK (epoch > 0),
      taken_at timestamptz NOT NULL DEFAULT clock_timestamp(),
      PRIMARY KEY (writer, epoch)
    );

    -- What writers commit: the exact bytes of entries side by side, chained within the epoch, under one MAC of the token.
    CREATE TABLE audit_groups (
      writer int NOT NULL,
      epoch int NOT NULL,
      first_seq bigint NOT NULL CHECK (first_seq >= 0),
      count int NOT NULL CHECK (count > 0),
      bundle bytea NOT NULL,
      chain bytea NOT NULL CHECK (octet_length(chain) = 32),
      mac bytea NOT NULL CHECK (octet_length(mac) BETWEEN 16 AND 64),
      created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
      PRIMARY KEY (writer, epoch, first_seq)
    );

    -- Intents whose outcome is not committed.
    CREATE TABLE open_intents (
      operation_id uuid PRIMARY KEY,
      writer int NOT NULL,
      epoch int NOT NULL,
      seq bigint NOT NULL,
      opened_at timestamptz NOT NULL DEFAULT clock_timestamp()
    );

    -- Personal values behind the commitments. Erasing a row leaves the log whole and the value gone.
    CREATE TABLE audit_personal (
      writer int NOT NULL,
      epoch int NOT NULL,
      seq bigint NOT NULL,
      name text NOT NULL,
      operation_id uuid NOT NULL,
      value text NOT NULL,
      salt bytea NOT NULL,
      blind_index bytea NOT NULL,
      PRIMARY KEY (writer, epoch, seq, name)
    );
    CREATE INDEX audit_personal_blind_index ON audit_personal (blind_index);

    -- How far each epoch is sequenced. Drained: superseded, and nothing of it is left.
    CREATE TABLE audit_sequenced (
      writer int NOT NULL,
      epoch int NOT NULL,
      next_seq bigint NOT NULL,
      chain bytea NOT NULL,
      drained boolean NOT NULL DEFAULT false,
      PRIMARY KEY (writer, epoch)
    );

    -- The tree as it is committed: one row, changed by compare-and-swap of the leader that holds the newest epoch.
    CREATE TABLE audit_head (
      id int PRIMARY KEY CHECK (id = 1),
      leader_epoch bigint NOT NULL,
      size bigint NOT NULL,
      root bytea NOT NULL,
      edge bytea NOT NULL
    );
    INSERT INTO audit_head VALUES (1, 0, 0, sha256(''), '');

    -- An index to search by, derived from the entries.
    CREATE TABLE audit_entries (
      index bigint PRIMARY KEY,
      operation_id uuid NOT NULL,
      writer int NOT NULL,
      epoch int NOT NULL,
      seq bigint NOT NULL,
      group_seq bigint NOT NULL,
      time timestamptz NOT NULL,
      operation text NOT NULL,
      caller text NOT NULL,
      kind text NOT NULL,
      code text
    ) PARTITION BY RANGE (index);
    CREATE INDEX audit_entries_operation_id ON audit_entries (operation_id);
    CREATE TABLE audit_entries_default PARTITION OF audit_entries DEFAULT;

    -- C2SP tlog-tiles of height 8: the full ones, and the right-most of each level.
    CREATE TABLE audit_tiles (
      level int NOT NULL,
      index bigint NOT NULL,
      hashes bytea NOT NULL CHECK (octet_length(hashes) = 8192),
      PRIMARY KEY (level, index)
    );
    CREATE TABLE audit_partial_tiles (
      level int PRIMARY KEY,
      index bigint NOT NULL,
      hashes bytea NOT NULL
    );

    CREATE TABLE audit_checkpoints (
      size bigint PRIMARY KEY,
      note text NOT NULL,
      published_at timestamptz NOT NULL DEFAULT clock_timestamp()
    );

    GRANT SELECT, INSERT ON audit_writers, audit_groups, audit_entries, audit_tiles, audit_checkpoints, audit_personal TO gridseal_service;
    GRANT SELECT, INSERT, DELETE ON open_intents TO gridseal_service;
    GRANT SELECT, INSERT, UPDATE ON audit_sequenced, audit_partial_tiles TO gridseal_service;
    GRANT SELECT ON audit_head TO gridseal_service;
    GRANT UPDATE (leader_epoch, size, root, edge) ON audit_head TO gridseal_service;
  `)
  for (let at = 0; at < PARTITIONS; at += 1) {
    await knex.raw(`CREATE TABLE audit_entries_${at} PARTITION OF audit_entries FOR VALUES FROM (${at * PARTITION_ROWS}) TO (${(at + 1) * PARTITION_ROWS})`)
  }
  const partitions = ['default', ...Array.from({ length: PARTITIONS }, (_, at) => String(at))].map((name) => `audit_entries_${name}`)
  for (const table of [...APPEND_ONLY, ...partitions]) {
    await knex.raw(`CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ${table} FOR EACH STATEMENT EXECUTE FUNCTION audit_append_only()`)
  }
}
