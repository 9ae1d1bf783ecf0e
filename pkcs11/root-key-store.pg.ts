import { keyId, operationId } from '../core/ids.ts'
import type { Sql } from '../core/tx.ts'
import { assertSameToken, type RecordedRootKey, type RootKeyStore } from './root-key-store.ts'
import type { RootKeyIdentity, TokenIdentity } from './root-keys.ts'
import { applyAdoptions, type TokenAdoption } from './token-adoption.ts'

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
  readonly mac: Uint8Array
}

const ADOPTION_COLUMNS = 'number, operation_id, kind, old_serial, new_serial, old_algorithm, old_key, new_algorithm, new_key, log_size, adopted_at, mac'
const ADOPTIONS = `SELECT ${ADOPTION_COLUMNS} FROM token_adoptions ORDER BY number`
const INSERT_ADOPTION = `INSERT INTO token_adoptions (${ADOPTION_COLUMNS}, version) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, 1)`

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
    const adoptions = await this.adoptions()
    return applyAdoptions(
      await this.#recorded(),
      adoptions.map(({ adoption }) => adoption),
    )
  }

  /** In their order. Who goes by them has their MACs checked. */
  async adoptions(): Promise<SealedAdoption[]> {
    return (await this.#sql.query<AdoptionColumns>(ADOPTIONS)).map((row) => ({
      mac: row.mac,
      adoption: {
        number: row.number,
        operationId: operationId(row.operation_id),
        kind: row.kind,
        oldSerial: row.old_serial,
        newSerial: row.new_serial,
        oldKey: { algorithm: row.old_algorithm, publicKey: row.old_key },
        newKey: { algorithm: row.new_algorithm, publicKey: row.new_key },
        logSize: Number(row.log_size),
        adoptedAt: row.adopted_at,
      },
    }))
  }

  /** As the owner of the tables: the service's role may not. */
  async insertAdoption({ adoption, mac }: SealedAdoption): Promise<void> {
    const { number, operationId: operation, kind, oldSerial, newSerial, oldKey, newKey, logSize, adoptedAt } = adoption
    await this.#sql.query(INSERT_ADOPTION, [
      ...[number, operation, kind, oldSerial, newSerial, oldKey.algorithm, oldKey.publicKey, newKey.algorithm, newKey.publicKey, logSize, adoptedAt, mac],
    ])
  }

  async #recorded(): Promise<RecordedRootKey[]> {
    return (await this.#sql.query<Columns>(LOAD)).map(({ key_id, token_serial, algorithm, public_key, kcv_method, kcv }) => {
      const common = { keyId: keyId(key_id), tokenSerial: token_serial }
      return public_key === null
        ? { ...common, algorithm: 'aes-256', kcv: { method: (kcv_method ?? '') as 'aes-kwp', value: kcv ?? new Uint8Array() } }
        : { ...common, algorithm: algorithm as 'ec-p256', publicKey: public_key }
    })
  }

  async record({ serial, keys }: TokenIdentity): Promise<void> {
    await this.#sql.query(RECORD, [
      keys.map((key) => key.keyId),
      keys.map(() => serial),
      keys.map((key) => key.algorithm),
      keys.map((key) => ('publicKey' in key ? Buffer.from(key.publicKey) : null)),
      keys.map((key) => ('kcv' in key ? key.kcv.method : null)),
      keys.map((key) => ('kcv' in key ? Buffer.from(key.kcv.value) : null)),
    ])
  }

  /** See {@link assertSameToken}. */
  assertSameToken(identity: TokenIdentity): Promise<void> {
    return assertSameToken(this, identity)
  }
}
