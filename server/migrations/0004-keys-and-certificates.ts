import type { Knex } from 'knex'

/** Keys that live wrapped under the storage KEK, and every certificate, from the moment its serial is taken. No row is ever deleted. */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    create table kms_keys (
      id          uuid primary key,
      version     int not null check (version > 0),
      mac         bytea not null check (length(mac) = 16),
      owner       text not null,
      label       text not null,
      algorithm   text not null,
      key_version int not null check (key_version > 0),
      -- reserved: the label is taken and there is no key yet; the others are the states of NIST SP 800-57 part 1 clause 7
      state       text not null check (state in ('reserved', 'pre-active', 'active', 'suspended', 'deactivated', 'compromised', 'destroyed')),
      wrapped     bytea,
      public_key  bytea,
      kcv_method  text,
      kcv         bytea,
      created_at  timestamptz(3) not null,
      check (state in ('reserved', 'destroyed') or wrapped is not null)
    );
    create unique index kms_keys_label on kms_keys (owner, label) where state <> 'destroyed';
    create index kms_keys_owner on kms_keys (owner, id);

    create table certificates (
      serial             text primary key check (serial ~ '^[0-9a-f]{32}$'),
      version            int not null check (version > 0),
      mac                bytea not null check (length(mac) = 16),
      authority          text not null check (authority in ('root', 'callers', 'cards')),
      profile            text not null,
      subject_kind       text not null check (subject_kind in ('authority', 'service', 'caller', 'card')),
      subject_id         text not null,
      tbs_sha256         bytea not null check (length(tbs_sha256) = 32),
      der                bytea,
      fingerprint_sha256 text unique check (fingerprint_sha256 ~ '^[0-9a-f]{64}$'),
      not_before         timestamptz(3) not null,
      not_after          timestamptz(3) not null,
      state              text not null check (state in ('reserved', 'issued', 'revoked')),
      reason             text,
      revoked_at         timestamptz(3),
      check (state = 'reserved' or (der is not null and fingerprint_sha256 is not null)),
      check ((state = 'revoked') = (revoked_at is not null and reason is not null))
    );
    create index certificates_subject on certificates (subject_kind, subject_id, not_before);
    create unique index certificates_one_per_authority on certificates (subject_id) where subject_kind = 'authority' and state = 'issued';

    grant select, insert on kms_keys, certificates to gridseal_service;
    grant update (version, mac, key_version, state, wrapped, public_key, kcv_method, kcv) on kms_keys to gridseal_service;
    grant update (version, mac, der, fingerprint_sha256, state, reason, revoked_at) on certificates to gridseal_service;
  `)
}
