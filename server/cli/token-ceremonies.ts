import { createPublicKey } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import pg from 'pg'
import { writeDurably } from '../../core/durable-file.ts'
import { equalBytes, hex } from '../../core/bytes.ts'
import { type KeyId, newOperationId } from '../../core/ids.ts'
import type { RowSealer } from '../../core/row.ts'
import type { Sql } from '../../core/tx.ts'
import {
  adoptionRow,
  backupOf,
  checkpointKeyOf,
  encodeBackup,
  fingerprintOf,
  generationOf,
  type GenerationState,
  identityFault,
  initialiseKeys,
  LATER_ROOT_KEYS,
  parseBackup,
  parseGeneration,
  type RecordedGeneration,
  SYSTEM_KEYS,
  type TokenAdoption,
  TokenCeremonies,
  type TokenIdentity,
  type TokenShown,
} from '../../pkcs11/ceremonies.ts'
import { PgKeyBackupStore } from '../../pkcs11/key-backup-store.pg.ts'
import { PgRootKeyStore } from '../../pkcs11/root-key-store.pg.ts'
import { logKey, openSuccession } from '../../policies/audit/index.ts'
import type { Config } from '../config.ts'
import { sqlOn } from '../database.ts'
import { migrateDatabase } from '../migrate.ts'
import { databaseUrls, tokenOptions } from '../service.ts'
import { backupFacts, loadAdoptions, logKeyOf, noteCeremony, recordPendingBackup, replacedKeys, verifierKey } from '../token-succession.ts'
import { CliError } from './cli-error.ts'

/** Makes token and root keys before the first start; with a recipient so that they are backed up from the first moment. */
export async function initialiseTokenCommand({
  config,
  backupRecipient,
  token,
}: {
  readonly config: Config
  readonly backupRecipient?: string
  readonly token?: string
}): Promise<void> {
  const recipient = backupRecipient === undefined ? undefined : readRecipient(backupRecipient)
  const shown = await initialiseKeys(tokenOptions(config, token), recipient === undefined ? {} : { recipient })
  const backed =
    recipient !== undefined
      ? `Its keys are backed up for the recipient ${hex(fingerprintOf(recipient))}.`
      : shown.backupKek === undefined
        ? 'Its keys have no backup.'
        : 'Its keys are backed up.'
  console.log(`The token ${shown.label}, serial ${shown.serial}, has its root keys. ${backed} Start the service: gridseal serve`)
}

/** Makes a token one that can restore another, and writes its public key. */
export async function backupRecipientCommand({ config, token, out }: { readonly config: Config; readonly token: string; readonly out: string }): Promise<void> {
  const { serial, publicKey } = await new TokenCeremonies(tokenOptions(config, token)).makeBackupRecipient()
  writeDurably(out, createPublicKey({ key: Buffer.from(publicKey), format: 'der', type: 'spki' }).export({ format: 'pem', type: 'spki' }))
  console.log(
    `${out} holds the public key of the token ${serial}, which can restore another one. Two people compare its fingerprint, told by another way:\n${hex(fingerprintOf(publicKey))}`,
  )
}

/** Writes all backups of the database's token into a file. The token is not needed. The exit code is 1 when a key is missing from it. */
export async function exportBackupCommand({ config, out }: { readonly config: Config; readonly out: string }): Promise<void> {
  await withDatabase(config, async (sql) => {
    const store = new PgKeyBackupStore(sql)
    const backup = backupOf(await store.load())
    // The note first: no file is there that the log will not know of.
    await noteCeremony(sql, { operation: 'system.token-backup-exported', facts: backupFacts(backup) })
    writeDurably(out, encodeBackup(backup, new Date().toISOString()))
    const { kek } = backup
    console.log(
      `${out} holds ${backup.keys.length} keys of the token ${kek.backup.tokenSerial}. It is useless without the token of the recipient ${hex(kek.backup.recipient)}: keep it anywhere, in more than one place.`,
    )
    const unsaved = await store.unsaved(kek.backup.kek)
    if (unsaved.length > 0) {
      console.log(`NOT IN IT, since the database has no backup of them: ${unsaved.join(', ')}. They are lost with their token.`)
      process.exitCode = 1
    }
  })
}

/** Restores a backup into the token that it was made for. */
export async function restoreTokenCommand({
  config,
  backup,
  token,
  nextRecipient,
}: {
  readonly config: Config
  readonly backup: string
  readonly token: string
  readonly nextRecipient?: string
}): Promise<void> {
  const content = parseBackup(readText(backup))
  if (config.officerPinFile === undefined)
    throw new CliError('A restore needs the security officer of the token: name the file with their PIN by GRIDSEAL_OFFICER_PIN_FILE.')
  const next = nextRecipient === undefined ? {} : { nextRecipient: readRecipient(nextRecipient) }
  const { serial, keys } = await new TokenCeremonies(tokenOptions(config, token)).restore(content, next)
  console.log(
    [
      `The token ${serial} has the ${content.keys.length} keys of the backup, each compared with it, and a new checkpoint key:`,
      verifierKey(config.origin, checkpointKeyOf(keys)),
      'Now name it in GRIDSEAL_TOKEN, and let the database take it, while the service is stopped: gridseal token adopt',
      ...(nextRecipient === undefined ? ['Keys that are made in it from now on have no backup: none was named to restore it (--next-recipient).'] : []),
    ].join('\n'),
  )
}

/** Records that a restored token took the place of the one that the database knows. */
export async function adoptTokenCommand({ config, token }: { readonly config: Config; readonly token?: string }): Promise<void> {
  const ceremonies = new TokenCeremonies(tokenOptions(config, token))
  const { identity } = sound(await ceremonies.show())
  await withStoppedService(config, async (sql) => {
    const adoption = await adopt(config, { sql, ceremonies, identity })
    if (adoption === undefined) return console.log(`The database knows the token ${identity.serial} as its own: nothing was to do.`)
    console.log(
      `The token ${adoption.newSerial} took the place of ${adoption.oldSerial}. The log goes on after ${adoption.logSize} entries with a new key, which auditors are told by a way of its own:\n${verifierKey(config.origin, adoption.newKey)}`,
    )
  })
}

/**
 * A new checkpoint key in the same token. Order: the new key, beside the old one; the adoption, committed; the old key is destroyed. A crash after the first leaves
 * a token that the service refuses, after the second one that it takes; the same command again goes on.
 */
export async function replaceCheckpointKeyCommand({ config, token }: { readonly config: Config; readonly token?: string }): Promise<void> {
  const ceremonies = new TokenCeremonies(tokenOptions(config, token))
  await withStoppedService(config, async (sql) => {
    const before = sound(await ceremonies.show())
    await assertSameButCheckpoint(sql, before.identity, { sameToken: true })
    const identity = await ceremonies.makeNextCheckpointKey()
    const adoption = await adopt(config, { sql, ceremonies, identity })
    const destroyed = await ceremonies.destroyOldCheckpointKeys()
    console.log(
      adoption === undefined
        ? `The replacement that was under way has come to its end (destroyed: ${destroyed.join(', ')}). The log's key is:`
        : `The log goes on after ${adoption.logSize} entries with a new key, which auditors are told by a way of its own; the old one is destroyed:`,
    )
    console.log(verifierKey(config.origin, checkpointKeyOf(identity.keys)))
  })
}

/**
 * Adds the root keys that came with a later version than the token: those that the database has never recorded, and no others. One that was recorded and is gone is
 * lost, and with it what is under it: that token is not completed but restored. Order: the keys; then, in one transaction, their records, their backups, and the
 * note for the log. A crash between leaves keys that the service refuses the token for; the same command makes them anew.
 */
export async function completeTokenCommand({ config, token }: { readonly config: Config; readonly token?: string }): Promise<void> {
  const ceremonies = new TokenCeremonies(tokenOptions(config, token))
  await withStoppedService(config, async (sql) => {
    const store = new PgRootKeyStore(sql)
    const known = await store.load()
    const serial = known[0]?.tokenSerial
    if (serial === undefined)
      throw new CliError(
        'The database remembers no token yet, so nothing is under the keys of this one: start with a token that has none, or with an empty folder.',
      )
    const { identity } = sound(await ceremonies.show())
    const unrecorded = LATER_ROOT_KEYS.filter((id) => !known.some(({ keyId }) => keyId === id))
    const others = identity.keys.filter(({ keyId }) => !unrecorded.includes(keyId))
    const fault = identityFault({ serial, keys: known, ...(await store.changing()) }, { ...identity, keys: others })
    if (fault !== undefined) throw new CliError(`${fault} Nothing was changed. A token that lost a key is restored from its backup: gridseal token restore`)
    if (unrecorded.length === 0) return console.log(`The token ${serial} has every root key: nothing was to do.`)
    await assertUnused(sql, unrecorded)
    const { keys, backups } = await ceremonies.addRootKeys({ keys: unrecorded, rowMac: await currentRowMac(store) })
    await sql.query('BEGIN')
    await store.recordAdded(keys)
    await new PgKeyBackupStore(sql).add(backups)
    await noteCeremony(sql, { operation: 'system.root-keys-added', facts: { token: serial, keys: unrecorded.join(' '), backups: backups.length } })
    await sql.query('COMMIT')
    const backed = backups.length === 0 ? 'They have no backup, as the other keys of this token have none.' : 'Export the backup anew: gridseal token backup'
    console.log(`The token ${serial} has these root keys too, and the database knows them: ${unrecorded.join(', ')}. ${backed}`)
  })
}

/** What is made with each of the later root keys. */
const USERS_OF: Readonly<Record<string, string>> = { 'root:policy': 'policy_activations', 'root:pepper': 'person_passwords' }

/** A key that is not recorded and has something under it was recorded once: it is not made anew, whoever took its record away. */
async function assertUnused(sql: Sql, keys: readonly KeyId[]): Promise<void> {
  for (const key of keys) {
    const table = USERS_OF[key]
    if (table === undefined) throw new Error(`nobody knows what is under ${key}`)
    if ((await sql.query(`SELECT FROM ${table} LIMIT 1`)).length > 0)
      throw new CliError(`${key} is not recorded, and ${table} has rows that were made with it: rows of root_keys were deleted. Nothing was changed.`)
  }
}

/** The generation that rows are sealed with. */
async function currentRowMac(store: PgRootKeyStore): Promise<KeyId> {
  const generations = await store.generations()
  return generations.find(({ record }) => record.state === 'current' && generationOf(record).key === 'row-mac')?.record.identity.keyId ?? SYSTEM_KEYS.rowMac
}

/** Prints what a token has of ours, beside what the database remembers, where that can be reached. */
export async function showTokenCommand({ config, token }: { readonly config: Config; readonly token?: string }): Promise<void> {
  const shown = await new TokenCeremonies(tokenOptions(config, token)).show()
  console.log(describeShown(shown, config.origin).join('\n'))
  const isThere = config.databaseUrl !== undefined || existsSync(join(config.data, 'postgres'))
  const compared = isThere
    ? await withDatabase(config, (sql) => compareWith(sql, shown), { migrated: false }).catch((error: unknown) => [
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

async function compareWith(sql: Sql, { identity, backupKek }: TokenShown): Promise<string[]> {
  const store = new PgRootKeyStore(sql)
  const known = await store.load()
  const fault =
    known[0] === undefined
      ? 'remembers no token yet'
      : identity === undefined
        ? `knows the token ${known[0].tokenSerial}, and this one lacks root keys`
        : (identityFault({ serial: known[0].tokenSerial, keys: known, ...(await store.changing()) }, identity) ??
          'knows this token: serial, check values and public keys are the recorded ones')
  const backups = await new PgKeyBackupStore(sql).load()
  const isThere = backups.some(({ backup }) => hex(backup.kek) === backupKek)
  return [
    `database    ${fault}`,
    ...describeGenerations(
      (await store.generations()).map(({ record }) => record),
      identity,
    ),
    ...(await store.adoptions()).map(
      ({ adoption: a }) => `history     ${a.adoptedAt} ${a.kind}: token ${a.oldSerial} to ${a.newSerial}, log key replaced after ${a.logSize} entries`,
    ),
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

async function describeBackup(sql: Sql): Promise<string> {
  const store = new PgKeyBackupStore(sql)
  const { kek, keys } = backupOf(await store.load())
  const unsaved = await store.unsaved(kek.backup.kek)
  const missing = unsaved.length === 0 ? 'all keys are in it' : `MISSING: ${unsaved.join(', ')}`
  return `has a backup of ${keys.length} keys for the recipient ${hex(kek.backup.recipient)}; ${missing}`
}

/** Nothing of it is unfinished, and it lacks no root key but those that came with a later version. */
function sound(shown: TokenShown): TokenShown & { readonly identity: TokenIdentity } {
  const { identity } = shown
  if (shown.unfinished)
    throw new CliError('The keys of this token are being made or restored, and the ceremony did not come to its end. Run it again: gridseal token restore.')
  if (identity === undefined)
    throw new CliError(`The token ${shown.serial} lacks root keys (${shown.missing.join(', ')}). Restore it first: gridseal token restore.`)
  return { ...shown, identity }
}

/** What the database knows, where the token differs from it in the checkpoint key, and where it may in the serial, and in nothing else. */
async function assertSameButCheckpoint(sql: Sql, identity: TokenIdentity, { sameToken }: { readonly sameToken: boolean }): Promise<TokenIdentity> {
  const known = await new PgRootKeyStore(sql).load()
  const serial = known[0]?.tokenSerial
  if (serial === undefined) throw new CliError('The database remembers no token yet: nothing is to be adopted. Start the service: gridseal serve')
  const newKey = checkpointKeyOf(identity.keys)
  const expected = known.map((key) => (key.keyId === SYSTEM_KEYS.checkpoint ? { keyId: key.keyId, ...newKey } : key))
  const changing = await new PgRootKeyStore(sql).changing()
  const fault = identityFault({ serial: sameToken ? serial : identity.serial, keys: expected, ...changing }, identity)
  if (fault !== undefined) throw new CliError(`${fault} It is no restored copy of the token that the database knows, serial ${serial}. Nothing was changed.`)
  return { serial, label: '', keys: known }
}

/** As the owner of the tables, one transaction: the adoption. Undefined: the database knows this token with this key. */
async function adopt(
  config: Config,
  { sql, ceremonies, identity }: { readonly sql: Sql; readonly ceremonies: TokenCeremonies; readonly identity: TokenIdentity },
): Promise<TokenAdoption | undefined> {
  const store = new PgRootKeyStore(sql)
  const known = await assertSameButCheckpoint(sql, identity, { sameToken: false })
  const [oldKey, newKey] = [checkpointKeyOf(known.keys), checkpointKeyOf(identity.keys)]
  const sealer = sealerOf(ceremonies)
  const rowMac = await currentRowMac(store)
  let adoption: TokenAdoption | undefined
  if (known.serial !== identity.serial || !equalBytes(oldKey.publicKey, newKey.publicKey)) {
    const adoptions = await loadAdoptions(store, sealer)
    adoption = {
      number: adoptions.length + 1,
      operationId: newOperationId(),
      kind: known.serial === identity.serial ? 'checkpoint-key-replaced' : 'token-restored',
      ...{ oldSerial: known.serial, newSerial: identity.serial, oldKey, newKey },
      logSize: await signedSize(config, { sql, oldKey, adoptions }),
      adoptedAt: new Date().toISOString(),
    }
    const [mac = new Uint8Array()] = await ceremonies.macRows([adoptionRow(adoption)], rowMac)
    await store.insertAdoption({ adoption, mac })
  }
  await recordPendingBackup({ data: config.data, sql, sealer })
  return adoption
}

/** Row MACs by a token that no lane holds. */
const sealerOf = (ceremonies: TokenCeremonies): RowSealer => ({
  macRows: (rows) => ceremonies.macRows(rows),
  assertRows: async (rows) => {
    const right = await ceremonies.checkRows(rows)
    const wrong = rows.find((_, at) => right[at] !== true)
    if (wrong !== undefined) throw new CliError(`The row ${wrong.row.id} of ${wrong.row.table} is not what this token sealed. Nothing was changed.`)
  },
})

/** Entries under the last checkpoint of the database, which the old key must have signed; the one in the data folder may not be ahead of it. */
async function signedSize(
  config: Config,
  { sql, oldKey, adoptions }: { readonly sql: Sql; readonly oldKey: TokenAdoption['oldKey']; readonly adoptions: readonly TokenAdoption[] },
): Promise<number> {
  const named = (key: ReturnType<typeof replacedKeys>[number]) => ({ key: logKey(config.origin, key.algorithm, key.publicKey), lastSize: key.lastSize })
  const key = logKeyOf(config.origin, oldKey)
  const sizeOf = (note: string, where: string): number => {
    try {
      return openSuccession(note, key, replacedKeys(adoptions).map(named)).size
    } catch (error) {
      throw new CliError(`The checkpoint in ${where} is not by the log's key: ${error instanceof Error ? error.message : String(error)}. Nothing was changed.`)
    }
  }
  const [row] = await sql.query<{ note: string }>('SELECT note FROM audit_checkpoints ORDER BY size DESC LIMIT 1')
  const size = row === undefined ? 0 : sizeOf(row.note, 'the table audit_checkpoints')
  const file = join(config.data, 'checkpoint')
  const kept = existsSync(file) ? sizeOf(readFileSync(file, 'utf8'), file) : 0
  if (kept > size)
    throw new CliError(
      `${file} is a signed checkpoint over ${kept} entries, and the database has one over ${size}: it was restored from an older copy. Restore the newer one first.`,
    )
  return size
}

async function withStoppedService<Result>(config: Config, work: (sql: Sql) => Promise<Result>): Promise<Result> {
  return withDatabase(config, async (sql) => {
    // What a service that starts takes too, and waits for.
    await sql.query(`SELECT pg_advisory_lock(hashtext('gridseal.start'))`)
    const running = await sql.query(`SELECT FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'gridseal'`)
    if (running.length > 0)
      throw new CliError('The service is running on this database. Stop it first, on every machine: this ceremony is held while it is stopped.')
    return work(sql)
  })
}

/** A connection of the database's owner; the database is brought up to date first, unless it is only looked at. */
async function withDatabase<Result>(
  config: Config,
  work: (sql: Sql) => Promise<Result>,
  { migrated = true }: { readonly migrated?: boolean } = {},
): Promise<Result> {
  const closers: (() => Promise<unknown>)[] = []
  try {
    const urls = await databaseUrls(config, closers)
    if (migrated) await migrateDatabase(urls)
    const client = new pg.Client({ connectionString: urls.ownerUrl, application_name: 'gridseal ceremony' })
    client.on('error', () => undefined)
    await client.connect()
    closers.push(() => client.end())
    return await work(sqlOn(client))
  } finally {
    for (const close of closers.toReversed()) await close()
  }
}

const readText = (file: string): string => {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    throw new CliError(`${file} cannot be read.`)
  }
}

/** SPKI DER of an RSA-3072 key. */
function readRecipient(file: string): Uint8Array {
  const text = readText(file)
  try {
    const key = createPublicKey(text)
    if (key.asymmetricKeyType === 'rsa' && (key.asymmetricKeyDetails?.modulusLength ?? 0) >= 3072) return key.export({ format: 'der', type: 'spki' })
  } catch {
    // Told below, as a key of another kind.
  }
  throw new CliError(`${file} is not the public key of a backup recipient, RSA of 3072 bits. It is made by: gridseal token backup-recipient`)
}
