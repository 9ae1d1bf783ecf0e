import type { Knex } from 'knex'

/**
 * Persons, what they log in with, and their sessions. Officers and auditors that were registered before get a person at the next start: whoever writes a row must
 * have the token to seal it.
 * INVARIANT: nothing here is deleted, and a version only grows: the rows of a person's password, codes and ticket are replaced.
 */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    CREATE TABLE persons (
      id text PRIMARY KEY,
      name text NOT NULL UNIQUE,
      state text NOT NULL CHECK (state IN ('active', 'revoked')),
      registered_by text NOT NULL,
      registered_at text NOT NULL,
      -- Also grows when a registration is made theirs, so that two at once, whose roles exclude each other, are not both made.
      version int NOT NULL,
      mac bytea NOT NULL
    );

    ALTER TABLE callers ADD COLUMN person_id text REFERENCES persons;
    CREATE UNIQUE INDEX callers_one_of_a_kind ON callers (person_id, kind) WHERE state = 'active' AND person_id IS NOT NULL;
    CREATE INDEX callers_of_person ON callers (person_id);

    CREATE TABLE person_passwords (
      person_id text PRIMARY KEY REFERENCES persons,
      state text NOT NULL CHECK (state IN ('set', 'active', 'frozen')),
      salt bytea NOT NULL CHECK (length(salt) = 16),
      digest bytea NOT NULL CHECK (length(digest) = 32),
      memory_kib int NOT NULL,
      passes int NOT NULL,
      lanes int NOT NULL,
      set_at timestamptz(3) NOT NULL,
      version int NOT NULL,
      mac bytea NOT NULL
    );

    -- The secret of the one-time codes, under the storage KEK.
    CREATE TABLE person_otps (
      person_id text PRIMARY KEY REFERENCES persons,
      state text NOT NULL CHECK (state IN ('pending', 'active')),
      algorithm text NOT NULL,
      wrapped bytea NOT NULL,
      -- The last time step whose code was taken (RFC 6238 4.2).
      last_step bigint NOT NULL,
      recovery text[] NOT NULL,
      version int NOT NULL,
      mac bytea NOT NULL
    );

    CREATE TABLE person_tickets (
      person_id text PRIMARY KEY REFERENCES persons,
      digest bytea NOT NULL UNIQUE CHECK (length(digest) = 32),
      state text NOT NULL CHECK (state IN ('issued', 'password-set', 'used')),
      issued_by text NOT NULL,
      issued_at timestamptz(3) NOT NULL,
      expires_at timestamptz(3) NOT NULL,
      version int NOT NULL,
      mac bytea NOT NULL
    );

    CREATE TABLE person_sessions (
      id text PRIMARY KEY,
      digest bytea NOT NULL UNIQUE CHECK (length(digest) = 32),
      person_id text NOT NULL REFERENCES persons,
      caller_id text NOT NULL REFERENCES callers,
      -- The version of the password's row that the session was opened with: another one ends it.
      password_version int NOT NULL,
      address text NOT NULL,
      certificate text,
      opened_at timestamptz(3) NOT NULL,
      expires_at timestamptz(3) NOT NULL,
      ended_at timestamptz(3),
      ended text CHECK (ended IN ('closed', 'revoked', 'stolen')),
      version int NOT NULL,
      mac bytea NOT NULL,
      CHECK ((ended_at IS NULL) = (ended IS NULL))
    );
    CREATE INDEX person_sessions_of ON person_sessions (person_id, opened_at DESC, id);

    -- When a session was used last. Not in the log: each use has an entry of its own.
    CREATE TABLE person_session_uses (
      session_id text PRIMARY KEY REFERENCES person_sessions,
      used_at timestamptz(3) NOT NULL,
      version int NOT NULL,
      mac bytea NOT NULL
    );

    GRANT SELECT, INSERT ON persons, person_passwords, person_otps, person_tickets, person_sessions, person_session_uses TO gridseal_service;
    GRANT UPDATE (state, version, mac) ON persons TO gridseal_service;
    GRANT UPDATE (person_id) ON callers TO gridseal_service;
    GRANT UPDATE (state, salt, digest, memory_kib, passes, lanes, set_at, version, mac) ON person_passwords TO gridseal_service;
    GRANT UPDATE (state, algorithm, wrapped, last_step, recovery, version, mac) ON person_otps TO gridseal_service;
    GRANT UPDATE (digest, state, issued_by, issued_at, expires_at, version, mac) ON person_tickets TO gridseal_service;
    GRANT UPDATE (ended_at, ended, version, mac) ON person_sessions TO gridseal_service;
    GRANT UPDATE (used_at, version, mac) ON person_session_uses TO gridseal_service;
  `)
}
