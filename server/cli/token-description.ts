import { hex } from '../../core/bytes.ts'
import type { Sql } from '../../core/tx.ts'
import { PgCeremonyAuthorisationStore } from '../../kms/root-keys/index.ts'
import {
  backupOf,
  checkpointKeyOf,
  fingerprintOf,
  generationOf,
  type GenerationState,
  identityFault,
  parseGeneration,
  type RecordedGeneration,
  TokenCeremonies,
  type TokenIdentity,
  type TokenShown,
} from '../../pkcs11/ceremonies.ts'
import { PgKeyBackupStore } from '../../pkcs11/key-backup-store.pg.ts'
import { PgRootKeyStore } from '../../pkcs11/root-key-store.pg.ts'
import type { Config } from '../config.ts'
import { tokenOptions } from '../token-options.ts'
import { verifierKey } from '../token-succession.ts'
import { currentRowMac, sealerOf } from './ceremony-token.ts'
import { hasDatabase, withDatabase } from './stopped-service.ts'
import { usedDecisions } from './token-authorisation.ts'

/** Prints what a token has of ours, beside what the database remembers, where that can be reached. */
export async function showTokenCommand({ config, token }: { readonly config: Config; readonly token?: string }): Promise<void> {
  const ceremonies = new TokenCeremonies(tokenOptions(config, token))
  const shown = await ceremonies.show()
  console.log(describeShown(shown, config.origin).join('\n'))
  const compared = hasDatabase(config)
    ? await withDatabase(config, (sql) => compareWith(sql, { ceremonies, shown }), { migrated: false }).catch((error: unknown) => [
        `database    cannot be compared: ${error instanceof Error ? error.message : String(error)}`,
      ])
    : ['database    is not there yet']
  console.log(compared.join('\n'))
}

function describeShown(shown: TokenShown, origin: string): string[] {
  const { identity, missing, labels, checkpointLabels, backupKek, recipient } = shown
  const keys = (identity?.keys ?? []).map((key) => {
    const check = 'publicKey' in key ? `public key, SHA-256 ${hex(fingerprintOf(key.publicKey))}` : `KCV ${hex(key.kcv.value)} (${key.kcv.method})`
    return `key         ${key.keyId.padEnd(20)} ${key.algorithm.padEnd(8)} ${check}`
  })
  return [
    `token       ${shown.label}, serial ${shown.serial}`,
    ...keys,
    ...(missing.length === 0 ? [] : [`key         missing: ${missing.join(', ')}${identity === undefined ? '' : '. Add them: gridseal token complete'}`]),
    ...(identity === undefined ? [] : [`log key     ${verifierKey(origin, checkpointKeyOf(identity.keys))}`]),
    ...labels.filter((label) => /^(transport|master):/.test(label)).map((label) => `key         ${label}`),
    ...(checkpointLabels.length > 1
      ? [`unfinished  the checkpoint key is being replaced: ${checkpointLabels.join(', ')}. Go on: gridseal token replace-checkpoint-key`]
      : []),
    ...(shown.unfinished ? ['unfinished  its keys are being made or restored: run the same command again'] : []),
    `backup      ${backupKek === undefined ? 'none: it has no backup KEK' : `keys that are made in it are backed up; backup KEK ${backupKek}`}`,
    ...(recipient === undefined ? [] : [`recipient   it can restore backups made for ${recipient}`]),
  ]
}

async function compareWith(sql: Sql, { ceremonies, shown }: { readonly ceremonies: TokenCeremonies; readonly shown: TokenShown }): Promise<string[]> {
  const { identity, backupKek } = shown
  const store = new PgRootKeyStore(sql)
  const known = await store.load()
  const fault =
    known[0] === undefined
      ? 'remembers no token yet'
      : identity === undefined
        ? `knows the token ${known[0].tokenSerial}, and this one lacks root keys`
        : identityFault({ serial: known[0].tokenSerial, keys: known, ...(await store.changing()) }, identity)
  const backups = await new PgKeyBackupStore(sql).load()
  const isThere = backups.some(({ backup }) => hex(backup.kek) === backupKek)
  return [
    `database    ${fault ?? 'knows this token: serial, check values and public keys are the recorded ones'}`,
    ...describeGenerations(
      (await store.generations()).map(({ record }) => record),
      identity,
    ),
    ...(await store.adoptions()).map(
      ({ adoption: a }) => `history     ${a.adoptedAt} ${a.kind}: token ${a.oldSerial} to ${a.newSerial}, log key replaced after ${a.logSize} entries`,
    ),
    ...(fault === undefined ? await describeAuthorisations(sql, ceremonies) : []),
    ...(backupKek === undefined ? [] : [`            ${isThere ? await describeBackup(sql) : 'has no backup under this backup KEK'}`]),
  ]
}

const GENERATION_STATES: Readonly<Record<GenerationState, string>> = {
  current: 'current: new things are made with it',
  older: 'older: what is under it is brought under its successor',
  closing: 'closing: nothing is under it, and it is about to be destroyed',
  retired: 'retired: it was destroyed',
}

/** Of each rotated key; one that was never rotated has its first generation, which is current. */
function describeGenerations(records: readonly RecordedGeneration[], identity: TokenIdentity | undefined): string[] {
  const rotated = new Set(records.map((record) => generationOf(record).key))
  const first = (identity?.keys ?? []).flatMap((key) => {
    const generation = parseGeneration(key.keyId)
    return generation === undefined || rotated.has(generation.key) || key.algorithm !== 'aes-256' ? [] : [{ identity: key, state: 'current' as const }]
  })
  return [...first, ...records].map(describeGeneration)
}

const describeGeneration = ({ identity, state }: Pick<RecordedGeneration, 'identity' | 'state'>): string =>
  `generation  ${identity.keyId.padEnd(20)} KCV ${hex(identity.kcv.value)}  ${GENERATION_STATES[state]}`

/** Those that a ceremony can still be held by. */
async function describeAuthorisations(sql: Sql, ceremonies: TokenCeremonies): Promise<string[]> {
  const store = new PgRootKeyStore(sql)
  const sealer = sealerOf(ceremonies, await currentRowMac(store))
  const used = await usedDecisions(
    sql,
    sealer,
    (await store.adoptions()).map(({ adoption }) => adoption),
  )
  const authorisations = await new PgCeremonyAuthorisationStore({ sql, sealer }).unexpired()
  return authorisations
    .filter(({ id }) => !used.has(id))
    .map(
      (one) =>
        `authorised  ${one.ceremony} ${one.before === undefined ? 'of' : `before entry ${one.before}, with`} token ${one.token}, until ${one.expiresAt.toISOString()}, asked for by ${one.authorisedBy}: ${one.id}`,
    )
}

async function describeBackup(sql: Sql): Promise<string> {
  const store = new PgKeyBackupStore(sql)
  const { kek, keys } = backupOf(await store.load())
  const unsaved = await store.unsaved(kek.backup.kek)
  const missing = unsaved.length === 0 ? 'all keys are in it' : `MISSING: ${unsaved.join(', ')}`
  return `has a backup of ${keys.length} keys for the recipient ${hex(kek.backup.recipient)}; ${missing}`
}
