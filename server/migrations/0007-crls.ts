import type { Knex } from 'knex'

/**
 * The present certificate revocation list of each authority, and the highest CRL number that was ever taken for it. `der` is not in the row's MAC; its
 * SHA-256 (`digest`) is. The index finds what was revoked lately, without a look at all certificates.
 */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    create table crls (
      authority          text primary key check (authority in ('root', 'callers', 'cards')),
      version            int not null check (version > 0),
      mac                bytea not null check (length(mac) = 16),
      planned_number     int not null check (planned_number > 0),
      planned_tbs_sha256 bytea not null check (length(planned_tbs_sha256) = 32),
      -- of the list that is served; null before the first
      number             int check (number <= planned_number),
      this_update        timestamptz(3),
      next_update        timestamptz(3),
      count              int check (count >= 0),
      recent             int check (recent >= 0),
      digest             bytea check (length(digest) = 32),
      der                bytea,
      check (num_nulls(number, this_update, next_update, count, recent, digest, der) in (0, 7))
    );
    create index certificates_revoked on certificates (authority, revoked_at, serial) where state = 'revoked';

    grant select, insert, update on crls to gridseal_service;
  `)
}
