import { keyId } from '../core/ids.ts'
import type { Sql } from '../core/tx.ts'
import { assertSameToken, type RecordedRootKey, type RootKeyStore } from './root-key-store.ts'
import type { RootKeyIdentity, TokenIdentity } from './root-keys.ts'

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

export class PgRootKeyStore implements RootKeyStore {
  readonly #sql: Sql

  constructor(sql: Sql) {
    this.#sql = sql
  }

  async load(): Promise<RecordedRootKey[]> {
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
