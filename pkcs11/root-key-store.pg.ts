import { type KeyId, keyId, operationId } from '../core/ids.ts'
import { pgSealedTable } from '../core/sealed-table.pg.ts'
import type { SealedTable } from '../core/sealed-table.ts'
import { assertWritten } from '../core/sealed-records.ts'
import { type Sql, sqlOf, type Tx } from '../core/tx.ts'
import { type GenerationState, generationRow, type RecordedGeneration, type SealedGeneration } from './generation-record.ts'
import { assertSameToken, type RecordedRootKey, type RootKeyStore } from './root-key-store.ts'
import { type Generation, generationId } from './root-key-generations.ts'
import type { RootKeyIdentity, TokenIdentity } from './root-keys.ts'
import { adoptionRow, applyAdoptions, type TokenAdoption } from './token-adoption.ts'

interface Columns {
  readonly key_id: string
  readonly token_serial: string
  readonly algorithm: RootKeyIdentity['algorithm']
  readonly public_key: Uint8Array | null
  readonly kcv_method: string | null
  readonly kcv: Uint8Array | null
}

const LOAD = 'SELECT key_id, token_serial, algorithm, public_key, kcv_method, kcv FROM root_keys ORDER BY key_id'
// One statement: all keys of one start or none.
const RECORD = `INSERT INTO root_keys (key_id, token_serial, algorithm, public_key, kcv_method, kcv)
  SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bytea[], $5::text[], $6::bytea[]) ON CONFLICT (key_id) DO NOTHING`

interface AdoptionColumns {
  readonly number: number
  readonly operation_id: string
  readonly kind: TokenAdoption['kind']
  readonly old_serial: string
  readonly new_serial: string
  readonly old_algorithm: TokenAdoption['oldKey']['algorithm']
  readonly old_key: Uint8Array
  readonly new_algorithm: TokenAdoption['newKey']['algorithm']
  readonly new_key: Uint8Array
  readonly log_size: string
  readonly adopted_at: string
  readonly authorisation: string | null
  readonly mac: Uint8Array
}

const ADOPTION_COLUMNS =
  'number, operation_id, kind, old_serial, new_serial, old_algorithm, old_key, new_algorithm, new_key, log_size, adopted_at, authorisation, mac'
const ADOPTIONS = `SELECT ${ADOPTION_COLUMNS} FROM token_adoptions ORDER BY number`
const INSERT_ADOPTION = `INSERT INTO token_adoptions (${ADOPTION_COLUMNS}, version) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, 1)`

interface GenerationColumns {
  readonly key_id: string
  readonly state: GenerationState
  readonly kcv_method: string
  readonly kcv: Uint8Array
  readonly rotation_id: string
  readonly version: number
  readonly mac: Uint8Array
}

const GENERATION_COLUMNS = 'key_id, state, kcv_method, kcv, rotation_id, version, mac'
const GENERATIONS = `SELECT ${GENERATION_COLUMNS} FROM root_key_generations ORDER BY key_id`
const NUMBER = 'SELECT coalesce(sum(version), 0)::int AS number FROM root_key_generations'
const INSERT_GENERATION = `INSERT INTO root_key_generations (${GENERATION_COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7)`
const UPDATE_GENERATION = 'UPDATE root_key_generations SET state = $2, version = $3, mac = $4 WHERE key_id = $1 AND version = $3 - 1 RETURNING key_id'
/** Of rotations that came to no generation yet: a ceremony that was cut off may have left the key, and nothing is under it. */
const COMING = `SELECT r.key, r.to_generation AS number FROM root_key_rotations r WHERE NOT EXISTS (SELECT FROM root_key_generations g WHERE g.rotation_id = r.id)`

export interface SealedAdoption {
  readonly adoption: TokenAdoption
  readonly mac: Uint8Array
}

export class PgRootKeyStore implements RootKeyStore {
  readonly #sql: Sql

  constructor(sql: Sql) {
    this.#sql = sql
  }

  async load(): Promise<RecordedRootKey[]> {
    const [recorded, adoptions, generations] = [await this.#recorded(), await this.adoptions(), await this.generations()]
    const adopted = applyAdoptions(
      recorded,
      adoptions.map(({ adoption }) => adoption),
    )
    const serial = adopted[0]?.tokenSerial
    const later = generations.flatMap(({ record: { identity, state } }) =>
      state === 'retired' || serial === undefined ? [] : [{ ...identity, tokenSerial: serial }],
    )
    const known = new Set(generations.map(({ record }) => record.identity.keyId))
    return [...adopted.filter(({ keyId: id }) => !known.has(id)), ...later]
  }

  async changing(): Promise<{ readonly leaving: KeyId[]; readonly coming: KeyId[]; readonly retired: KeyId[] }> {
    const generations = await this.generations()
    const inState = (state: GenerationState): KeyId[] => generations.flatMap(({ record }) => (record.state === state ? [record.identity.keyId] : []))
    const coming = (await this.#sql.query<Generation>(COMING)).map(generationId)
    return { leaving: inState('closing'), coming, retired: inState('retired') }
  }

  /** See `numberOf`: cheap, to be asked often. */
  async number(): Promise<number> {
    return (await this.#sql.query<{ number: number }>(NUMBER))[0]?.number ?? 0
  }

  /** All that were ever recorded. Who goes by them has their MACs checked. */
  async generations(): Promise<SealedGeneration[]> {
    return (await this.#sql.query<GenerationColumns>(GENERATIONS)).map((row) => ({ record: toGeneration(row), mac: row.mac }))
  }

  async insertGeneration(tx: Tx, { record: { identity, state, rotationId, version }, mac }: SealedGeneration): Promise<void> {
    await sqlOf(tx).query(INSERT_GENERATION, [identity.keyId, state, identity.kcv.method, identity.kcv.value, rotationId, version, mac])
  }

  /** Throws `conflict` when another process was faster. */
  async updateGeneration(tx: Tx, { record: { identity, state, version }, mac }: SealedGeneration): Promise<void> {
    assertWritten(await sqlOf(tx).query(UPDATE_GENERATION, [identity.keyId, state, version, mac]), 'generation')
  }

  /** In their order. Who goes by them has their MACs checked. */
  async adoptions(): Promise<SealedAdoption[]> {
    return (await this.#sql.query<AdoptionColumns>(ADOPTIONS)).map((row) => ({ mac: row.mac, adoption: toAdoption(row) }))
  }

  /** As the owner of the tables: the service's role may not. */
  async insertAdoption({ adoption, mac }: SealedAdoption): Promise<void> {
    const { number, operationId: operation, kind, oldSerial, newSerial, oldKey, newKey, logSize, adoptedAt, authorisation } = adoption
    await this.#sql.query(INSERT_ADOPTION, [
      ...[number, operation, kind, oldSerial, newSerial, oldKey.algorithm, oldKey.publicKey, newKey.algorithm, newKey.publicKey, logSize, adoptedAt],
      ...[authorisation ?? null, mac],
    ])
  }

  async #recorded(): Promise<RecordedRootKey[]> {
    return (await this.#sql.query<Columns>(LOAD)).map(({ key_id, token_serial, algorithm, public_key, kcv_method, kcv }) => {
      const common = { keyId: keyId(key_id), tokenSerial: token_serial }
      if (public_key !== null) return { ...common, algorithm: algorithm as 'ec-p256', publicKey: public_key }
      const value = kcv ?? new Uint8Array()
      if (algorithm === 'hmac-sha256') return { ...common, algorithm, kcv: { method: algorithm, value } }
      return { ...common, algorithm: 'aes-256', kcv: { method: (kcv_method ?? '') as 'aes-kwp', value } }
    })
  }

  async record({ serial, keys }: Pick<TokenIdentity, 'serial' | 'keys'>): Promise<void> {
    await this.#sql.query(RECORD, [
      keys.map((key) => key.keyId),
      keys.map(() => serial),
      keys.map((key) => key.algorithm),
      keys.map((key) => ('publicKey' in key ? Buffer.from(key.publicKey) : null)),
      keys.map((key) => ('kcv' in key ? key.kcv.method : null)),
      keys.map((key) => ('kcv' in key ? Buffer.from(key.kcv.value) : null)),
    ])
  }

  /**
   * Root keys that came with a later version, beside those that are recorded: as theirs, since it is from the token of then that adoptions lead to the one of now.
   * As the owner of the tables. Throws where one is recorded already.
   */
  async recordAdded(keys: readonly RootKeyIdentity[]): Promise<void> {
    const [first] = await this.#recorded()
    if (first === undefined) throw new Error('no token is recorded')
    const before = await this.#sql.query('SELECT FROM root_keys WHERE key_id = ANY($1)', [keys.map((key) => key.keyId)])
    if (before.length > 0) throw new Error('a root key that is to be added is recorded already')
    await this.record({ serial: first.tokenSerial, keys })
  }

  /** See {@link assertSameToken}. */
  assertSameToken(identity: TokenIdentity): Promise<void> {
    return assertSameToken(this, identity)
  }
}

const toAdoption = (row: AdoptionColumns): TokenAdoption => ({
  number: row.number,
  operationId: operationId(row.operation_id),
  kind: row.kind,
  oldSerial: row.old_serial,
  newSerial: row.new_serial,
  oldKey: { algorithm: row.old_algorithm, publicKey: row.old_key },
  newKey: { algorithm: row.new_algorithm, publicKey: row.new_key },
  logSize: Number(row.log_size),
  adoptedAt: row.adopted_at,
  ...(row.authorisation === null ? {} : { authorisation: operationId(row.authorisation) }),
})

const toGeneration = (row: GenerationColumns): RecordedGeneration => ({
  identity: { keyId: keyId(row.key_id), algorithm: 'aes-256', kcv: { method: row.kcv_method as 'aes-kwp', value: row.kcv } },
  state: row.state,
  rotationId: row.rotation_id,
  version: row.version,
})

/** What this file keeps under MACs. */
export const rootKeyTables = (sql: Sql): readonly SealedTable[] => [
  pgSealedTable<AdoptionColumns>(sql, {
    name: 'token_adoptions',
    key: [['number', 'int']],
    columns: ADOPTION_COLUMNS,
    toRow: (row) => adoptionRow(toAdoption(row)),
  }),
  pgSealedTable<GenerationColumns>(sql, {
    name: 'root_key_generations',
    key: [['key_id', 'text']],
    columns: GENERATION_COLUMNS,
    toRow: (row) => generationRow(toGeneration(row)),
  }),
]
