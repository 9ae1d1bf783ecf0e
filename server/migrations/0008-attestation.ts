import type { Knex } from 'knex'

/**
 * Challenges of cards, their sequence numbers, and which card sits in which device. `btree_gist` (a trusted extension: the database's owner may make it)
 * lets an exclusion constraint compare text and time ranges together: that a card and a device are bound one to one at every instant is the database's promise.
 */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    CREATE EXTENSION IF NOT EXISTS btree_gist;

    -- The key that unknown cards are handled with. One row.
    CREATE TABLE attestation_decoys (
      id text PRIMARY KEY,
      singleton boolean NOT NULL DEFAULT true UNIQUE CHECK (singleton),
      algorithm text NOT NULL,
      wrapped bytea NOT NULL,
      version int NOT NULL,
      mac bytea NOT NULL
    );

    -- Version 1 is open, version 2 is spent. Purged a day after they end.
    CREATE TABLE attestation_nonces (
      nonce bytea PRIMARY KEY CHECK (length(nonce) = 32),
      salt bytea NOT NULL,
      iccid text NOT NULL,
      method text NOT NULL CHECK (method IN ('cmac', 'milenage', 'signature', 'evidence')),
      caller text NOT NULL,
      issued_at timestamptz NOT NULL,
      expires_at timestamptz NOT NULL,
      version int NOT NULL CHECK (version IN (1, 2)),
      mac bytea NOT NULL
    );
    CREATE INDEX attestation_nonces_ended ON attestation_nonces (expires_at);

    -- The last SEQ (TS 33.102 C.1.1.1) that left for a card: 43 bits.
    CREATE TABLE attestation_sqn (
      card_id text PRIMARY KEY,
      seq bigint NOT NULL CHECK (seq >= 0 AND seq < 8796093022208),
      version int NOT NULL,
      mac bytea NOT NULL
    );

    CREATE TABLE bindings (
      id text PRIMARY KEY,
      iccid text NOT NULL,
      imei text NOT NULL,
      udid text,
      level text NOT NULL,
      state text NOT NULL CHECK (state IN ('bound', 'conflict')),
      valid tstzrange NOT NULL CHECK (NOT isempty(valid) AND NOT lower_inf(valid) AND lower_inc(valid) AND NOT upper_inc(valid)),
      last_proved_at timestamptz NOT NULL,
      evidence bytea NOT NULL,
      bound_by text NOT NULL,
      ended_by text,
      version int NOT NULL,
      mac bytea NOT NULL,
      CHECK ((ended_by IS NULL) = upper_inf(valid)),
      CONSTRAINT one_device_for_a_card EXCLUDE USING gist (iccid WITH =, valid WITH &&),
      CONSTRAINT one_card_for_an_imei EXCLUDE USING gist (imei WITH =, valid WITH &&),
      CONSTRAINT one_card_for_a_udid EXCLUDE USING gist (udid WITH =, valid WITH &&) WHERE (udid IS NOT NULL)
    );
    -- What counts now is asked for at each appraisal.
    CREATE INDEX live_bindings_by_iccid ON bindings (iccid) WHERE upper_inf(valid);
    CREATE INDEX live_bindings_by_imei ON bindings (imei) WHERE upper_inf(valid);
    CREATE INDEX live_bindings_by_udid ON bindings (udid) WHERE upper_inf(valid) AND udid IS NOT NULL;

    -- Two claims to one card or device, with what each was proved by.
    CREATE TABLE binding_conflicts (
      id text PRIMARY KEY,
      binding_id text NOT NULL REFERENCES bindings,
      standing_evidence bytea NOT NULL,
      iccid text NOT NULL,
      imei text NOT NULL,
      udid text,
      evidence bytea NOT NULL,
      claimed_by text NOT NULL,
      claimed_at timestamptz NOT NULL,
      version int NOT NULL,
      mac bytea NOT NULL
    );
    CREATE INDEX binding_conflicts_of ON binding_conflicts (binding_id, id);

    CREATE TABLE unbind_requests (
      id text PRIMARY KEY,
      binding_id text NOT NULL REFERENCES bindings,
      reason text NOT NULL,
      salt bytea NOT NULL CHECK (length(salt) = 16),
      requested_by text NOT NULL,
      requested_at timestamptz NOT NULL,
      approved_by text CHECK (approved_by <> requested_by),
      approved_at timestamptz,
      version int NOT NULL,
      mac bytea NOT NULL,
      CHECK ((approved_by IS NULL) = (approved_at IS NULL))
    );
    CREATE INDEX unbind_requests_of ON unbind_requests (binding_id);

    GRANT SELECT, INSERT ON attestation_decoys, attestation_nonces, attestation_sqn, bindings, binding_conflicts, unbind_requests TO gridseal_service;
    GRANT UPDATE (version, mac), DELETE ON attestation_nonces TO gridseal_service;
    GRANT UPDATE (seq, version, mac) ON attestation_sqn TO gridseal_service;
    GRANT UPDATE (state, valid, last_proved_at, evidence, ended_by, version, mac) ON bindings TO gridseal_service;
    GRANT UPDATE (approved_by, approved_at, version, mac) ON unbind_requests TO gridseal_service;
  `)
}
