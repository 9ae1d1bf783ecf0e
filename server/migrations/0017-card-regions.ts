import type { Knex } from 'knex'

/** Orders say where their cards belong. Those of before say nothing, and stay sealed as they are. */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`ALTER TABLE orders ADD COLUMN region text CHECK (region ~ '^[1-9][0-9]{5}$');`)
}
