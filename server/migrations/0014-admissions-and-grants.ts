import type { Knex } from 'knex'

/**
 * Two ways in and out beside the policy. The security records of vendors and modules. Each change is a version of its own, the highest counts, and none is changed or deleted: history is the table itself.
 * Whoever was registered before is not admitted until somebody files it.
 * Grants let callers do for a while what no rule allows. They are revoked and never deleted, so that a decision that one made can be made again. Entries of the log are
 * found by the rule that decided from here on.
 */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    CREATE TABLE admissions (
      caller_id text NOT NULL REFERENCES callers,
      version int NOT NULL CHECK (version > 0),
      subject text NOT NULL,
      organisation text NOT NULL,
      licence_number text NOT NULL,
      licence_sha256 bytea NOT NULL CHECK (length(licence_sha256) = 32),
      user_name text NOT NULL,
      user_phone text NOT NULL,
      user_mail text NOT NULL,
      responsible_name text NOT NULL,
      responsible_phone text NOT NULL,
      responsible_mail text NOT NULL,
      assessment text NOT NULL,
      report_sha256 bytea NOT NULL CHECK (length(report_sha256) = 32),
      expires_at timestamptz(3) NOT NULL,
      state text NOT NULL CHECK (state IN ('admitted', 'suspended')),
      change text NOT NULL CHECK (change IN ('filed', 'changed', 'suspended', 'resumed')),
      reason text,
      changed_by text NOT NULL,
      changed_at timestamptz(3) NOT NULL,
      salt bytea NOT NULL CHECK (length(salt) = 16),
      mac bytea NOT NULL,
      PRIMARY KEY (caller_id, version)
    );
    CREATE INDEX admissions_subject ON admissions (subject, version);
    CREATE TRIGGER append_only BEFORE DELETE OR TRUNCATE OR UPDATE OF caller_id, version, subject, organisation, licence_number, licence_sha256, user_name, user_phone,
        user_mail, responsible_name, responsible_phone, responsible_mail, assessment, report_sha256, expires_at, state, change, reason, changed_by, changed_at, salt
      ON admissions FOR EACH STATEMENT EXECUTE FUNCTION append_only();

    CREATE TABLE grants (
      id uuid PRIMARY KEY,
      reason text NOT NULL,
      callers text[] NOT NULL,
      operations text[] NOT NULL,
      zones text[] NOT NULL,
      networks text[] NOT NULL,
      from_at timestamptz(3) NOT NULL,
      until_at timestamptz(3) NOT NULL CHECK (until_at > from_at),
      issued_by text NOT NULL,
      issued_at timestamptz(3) NOT NULL,
      revoked_by text,
      revoked_at timestamptz(3),
      revoked_for text,
      version int NOT NULL,
      mac bytea NOT NULL,
      CHECK ((revoked_at IS NULL) = (revoked_by IS NULL) AND (revoked_at IS NULL) = (revoked_for IS NULL))
    );
    CREATE INDEX grants_until ON grants (until_at) WHERE revoked_at IS NULL;
    CREATE TRIGGER never_deleted BEFORE DELETE OR TRUNCATE OR UPDATE OF id, reason, callers, operations, zones, networks, from_at, until_at, issued_by, issued_at
      ON grants FOR EACH STATEMENT EXECUTE FUNCTION append_only();

    -- The rule that decided. Of grants there is an index: what was done under one is reported.
    ALTER TABLE audit_entries ADD COLUMN rule text;
    CREATE INDEX audit_entries_of_grants ON audit_entries (rule, index) WHERE rule LIKE 'grant:%';

    GRANT SELECT, INSERT ON admissions, grants TO gridseal_service;
    GRANT UPDATE (mac) ON admissions TO gridseal_service;
    GRANT UPDATE (revoked_by, revoked_at, revoked_for, version, mac) ON grants TO gridseal_service;
  `)
}
