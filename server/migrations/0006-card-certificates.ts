import type { Knex } from 'knex'

/** Cards have a key pair: its public part stands with the card, and a chunk is `keyed` until its certificates are issued. */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    ALTER TABLE cards ADD COLUMN public_key bytea;
    ALTER TABLE order_chunks DROP CONSTRAINT order_chunks_state_check;
    ALTER TABLE order_chunks ADD CONSTRAINT order_chunks_state_check CHECK (state IN ('open', 'keyed', 'filled'));
    DROP INDEX order_chunks_open;
    CREATE INDEX order_chunks_unfilled ON order_chunks (order_id, number) WHERE state <> 'filled';
  `)
}
