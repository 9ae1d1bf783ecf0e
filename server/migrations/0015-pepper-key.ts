import type { Knex } from 'knex'

/** The pepper key of logins is one of HMAC-SHA-256: it is recorded, and backed up, beside the root keys of before. */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    ALTER TABLE root_keys DROP CONSTRAINT root_keys_algorithm_check,
      ADD CONSTRAINT root_keys_algorithm_check CHECK (algorithm IN ('ec-p256', 'ed25519', 'aes-256', 'hmac-sha256'));
    ALTER TABLE token_key_backups DROP CONSTRAINT token_key_backups_algorithm_check,
      ADD CONSTRAINT token_key_backups_algorithm_check CHECK (algorithm IN ('ec-p256', 'aes-256', 'hmac-sha256'));
  `)
}
