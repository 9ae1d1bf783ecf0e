import type { Knex } from 'knex'

/**
 * Vendors, their transport keys, card profiles, orders, cards and deliveries. ICCIDs are text: 20 digits exceed a bigint.
 * `iccids` outlives everything: the service may add to it and nothing else.
 */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    CREATE TABLE vendors (
      id text PRIMARY KEY,
      name text NOT NULL,
      caller_name text NOT NULL UNIQUE,
      certificate bytea NOT NULL,
      fingerprint bytea NOT NULL CHECK (length(fingerprint) = 32),
      first_confirmer text,
      second_confirmer text,
      registered_by text NOT NULL,
      registered_at text NOT NULL,
      version int NOT NULL,
      mac bytea NOT NULL,
      CHECK (second_confirmer IS NULL OR second_confirmer <> first_confirmer)
    );

    CREATE TABLE transport_keys (
      id text PRIMARY KEY,
      vendor_id text NOT NULL REFERENCES vendors,
      number int NOT NULL CHECK (number > 0),
      recipient bytea NOT NULL,
      encrypted_key bytea NOT NULL,
      kcv_method text NOT NULL,
      kcv bytea NOT NULL,
      mac_key_id text NOT NULL UNIQUE,
      wrapped_mac_key bytea NOT NULL,
      mac_kcv_method text NOT NULL,
      mac_kcv bytea NOT NULL,
      made_by text NOT NULL,
      made_at text NOT NULL,
      version int NOT NULL,
      mac bytea NOT NULL,
      UNIQUE (vendor_id, number)
    );
    CREATE TABLE row_mac_keys (
      id text PRIMARY KEY,
      transport_key_id text NOT NULL UNIQUE REFERENCES transport_keys,
      algorithm text NOT NULL,
      wrapped bytea NOT NULL,
      version int NOT NULL,
      mac bytea NOT NULL
    );

    CREATE TABLE card_masters (
      id text PRIMARY KEY,
      profile text NOT NULL,
      k1 bytea NOT NULL CHECK (length(k1) = 16),
      kat_kcv bytea NOT NULL,
      version int NOT NULL,
      mac bytea NOT NULL
    );
    CREATE TABLE operator_keys (
      id text PRIMARY KEY,
      profile text NOT NULL,
      algorithm text NOT NULL,
      wrapped bytea NOT NULL,
      version int NOT NULL,
      mac bytea NOT NULL
    );
    CREATE TABLE card_profiles (
      id text PRIMARY KEY,
      master_id text NOT NULL REFERENCES card_masters,
      operator_key_id text NOT NULL REFERENCES operator_keys,
      established_at text NOT NULL,
      version int NOT NULL,
      mac bytea NOT NULL
    );

    CREATE TABLE orders (
      id text PRIMARY KEY,
      vendor_id text NOT NULL REFERENCES vendors,
      profile text NOT NULL,
      transport_key_id text NOT NULL REFERENCES transport_keys,
      purchase_order text,
      content_digest bytea NOT NULL CHECK (length(content_digest) = 32),
      quantity int NOT NULL CHECK (quantity > 0),
      state text NOT NULL CHECK (state IN ('validated', 'approved', 'generating', 'ready', 'delivered', 'cancelled')),
      submitted_by text NOT NULL,
      submitted_at text NOT NULL,
      decided_by text,
      decided_at text,
      version int NOT NULL,
      mac bytea NOT NULL,
      UNIQUE (vendor_id, purchase_order)
    );
    CREATE INDEX orders_to_fill ON orders (id) WHERE state IN ('approved', 'generating');
    CREATE INDEX orders_of_vendor ON orders (vendor_id, id);

    CREATE TABLE order_chunks (
      order_id text NOT NULL REFERENCES orders,
      number int NOT NULL,
      first_position int NOT NULL,
      quantity int NOT NULL CHECK (quantity BETWEEN 1 AND 500),
      digest bytea NOT NULL CHECK (length(digest) = 32),
      state text NOT NULL CHECK (state IN ('open', 'filled')),
      version int NOT NULL,
      mac bytea NOT NULL,
      PRIMARY KEY (order_id, number)
    );
    CREATE INDEX order_chunks_open ON order_chunks (order_id, number) WHERE state = 'open';

    -- Decides nothing but whether the fill job tries: not sealed.
    CREATE TABLE order_halts (
      order_id text PRIMARY KEY REFERENCES orders,
      code text NOT NULL,
      detail text NOT NULL,
      halted_at text NOT NULL
    );

    -- Every ICCID and IMSI that was ever ordered. What stands here is sealed by the chunk that it belongs to.
    CREATE TABLE iccids (
      iccid text PRIMARY KEY,
      imsi text NOT NULL UNIQUE,
      order_id text NOT NULL,
      position int NOT NULL,
      UNIQUE (order_id, position)
    );

    CREATE TABLE cards (
      id text PRIMARY KEY,
      order_id text NOT NULL,
      position int NOT NULL,
      iccid text NOT NULL UNIQUE,
      imsi text NOT NULL,
      profile text NOT NULL,
      master_id text NOT NULL,
      state text NOT NULL CHECK (state IN ('keyed')),
      keys bytea NOT NULL,
      delivery_mac bytea NOT NULL CHECK (length(delivery_mac) = 16),
      wrapped bytea NOT NULL,
      version int NOT NULL,
      mac bytea NOT NULL,
      UNIQUE (order_id, position)
    );

    CREATE TABLE deliveries (
      order_id text PRIMARY KEY REFERENCES orders,
      header text NOT NULL,
      body_sha256 bytea NOT NULL CHECK (length(body_sha256) = 32),
      sealed_at text NOT NULL,
      fetches int NOT NULL,
      version int NOT NULL,
      mac bytea NOT NULL
    );

    GRANT SELECT, INSERT ON vendors, transport_keys, row_mac_keys, card_masters, operator_keys, card_profiles, orders, order_chunks, iccids, cards, deliveries TO gridseal_service;
    GRANT SELECT, INSERT, DELETE ON order_halts TO gridseal_service;
    GRANT UPDATE (first_confirmer, second_confirmer, version, mac) ON vendors TO gridseal_service;
    GRANT UPDATE (state, decided_by, decided_at, version, mac) ON orders TO gridseal_service;
    GRANT UPDATE (state, version, mac) ON order_chunks TO gridseal_service;
    GRANT UPDATE (fetches, version, mac) ON deliveries TO gridseal_service;
  `)
}
