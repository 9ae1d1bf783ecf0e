import {
  createCipheriv,
  createDecipheriv,
  createHmac,
  createPublicKey,
  createSecretKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  sign,
  timingSafeEqual,
  verify,
} from 'node:crypto'
import { equalBytes, sha256 } from '../../core/bytes.ts'
import type { KeyId } from '../../core/ids.ts'
import { Problem } from '../../core/problem.ts'
import { encodeRow, type Row, type RowSealer } from '../../core/row.ts'
import { type Ciphers, type Hsm, ROOT_KEYS, type StoredKey } from '../../pkcs11/index.ts'

/** A sealer for tests: HMAC instead of the token's CMAC. `checked` counts the rows it was asked about. */
export function softwareSealer(): RowSealer & { readonly checked: () => number } {
  const key = randomBytes(32)
  const mac = (row: Row): Uint8Array => createHmac('sha256', key).update(encodeRow(row)).digest().subarray(0, 16)
  let checked = 0
  return {
    checked: () => checked,
    macRows: (rows) => Promise.resolve(rows.map(mac)),
    assertRows: async (rows) => {
      checked += rows.length
      for (const { row, mac: given } of rows) {
        if (!equalBytes(mac(row), given)) throw new Problem('integrity-failed', `The row ${row.id} of ${row.table} is not what the service wrote.`)
      }
    },
  }
}

/** Keys by node:crypto, for tests that need no token. It demands the permit as the token does, and checks the row's MAC before it uses a key. Card keys are not in it. */
export function softwareHsm(sealer: RowSealer): Hsm & Ciphers & { fail: 'no' | 'before' | 'after'; corrupt: boolean; readonly uses: () => number } {
  const roots = new Map(Object.values(ROOT_KEYS).map((id) => [id, generateKeyPairSync('ec', { namedCurve: 'P-256' })] as const))
  const wrapped = new Map<string, KeyObject>()
  let uses = 0
  const raw = { dsaEncoding: 'ieee-p1363' } as const

  const open = async (key: StoredKey): Promise<KeyObject> => {
    await sealer.assertRows([key.sealed])
    const blob = key.sealed.row.columns['wrapped']
    const found = blob instanceof Uint8Array ? wrapped.get(Buffer.from(blob).toString('hex')) : undefined
    if (found === undefined || key.sealed.row.id !== key.id) throw new Problem('hsm-failed', 'The key cannot be opened.')
    return found
  }
  const tag = (key: KeyObject, message: Uint8Array): Buffer =>
    key.type === 'secret' ? createHmac('sha256', key).update(message).digest() : sign('sha256', message, { key, ...raw })
  const use = async <Result>(work: () => Result | Promise<Result>): Promise<Result> => {
    if (hsm.fail === 'before') throw new Problem('hsm-unavailable', 'The HSM cannot be reached.')
    uses += 1
    const result = await work()
    if (hsm.fail === 'after') throw new Problem('hsm-unavailable', 'The HSM cannot be reached.')
    return result
  }
  const refuse = () => Promise.reject(new Error('not in the software HSM'))
  const rootOf = (id: KeyId) => {
    const pair = roots.get(id)
    if (pair === undefined) throw new Problem('hsm-failed', 'There is no such root key.')
    return pair
  }

  const hsm: ReturnType<typeof softwareHsm> = {
    fail: 'no',
    corrupt: false,
    uses: () => uses,
    generate: async (permit, keyId, algorithm) => {
      permit.assertAllows('generate', keyId)
      return use(() => {
        const blob = randomBytes(40)
        if (algorithm === 'ec-p256') {
          const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' })
          wrapped.set(blob.toString('hex'), pair.privateKey)
          return { wrapped: blob, publicKey: pair.publicKey.export({ format: 'der', type: 'spki' }) }
        }
        const key = createSecretKey(randomBytes(32))
        wrapped.set(blob.toString('hex'), key)
        return { wrapped: blob, kcv: { method: algorithm === 'hmac-sha256' ? 'hmac-sha256' : 'aes-cmac', value: tag(key, Buffer.alloc(16)).subarray(0, 5) } }
      })
    },
    sign: async (permit, key, messages) => {
      permit.assertAllows('sign', key.id)
      return use(async () => {
        const opened = await open(key)
        return messages.map((message) => tag(opened, message))
      })
    },
    verify: async (permit, key, items) => {
      permit.assertAllows('verify', key.id)
      return use(async () => {
        const opened = await open(key)
        return items.map(({ message, signature }) => {
          if (opened.type !== 'secret') return signature.length === 64 && verify('sha256', message, { key: createPublicKey(opened), ...raw }, signature)
          return signature.length === 32 && timingSafeEqual(tag(opened, message), signature)
        })
      })
    },
    encrypt: async (permit, key, items) => {
      permit.assertAllows('encrypt', key.id)
      return use(async () => {
        const opened = await open(key)
        return items.map(({ plaintext, aad }) => {
          const iv = randomBytes(12)
          const cipher = createCipheriv('aes-256-gcm', opened, iv).setAAD(aad)
          return Buffer.concat([iv, cipher.update(plaintext), cipher.final(), cipher.getAuthTag()])
        })
      })
    },
    decrypt: async (permit, key, items) => {
      permit.assertAllows('decrypt', key.id)
      return use(async () => {
        const opened = await open(key)
        return items.map(({ ciphertext, aad }) => {
          if (ciphertext.length < 28) return undefined
          const decipher = createDecipheriv('aes-256-gcm', opened, ciphertext.subarray(0, 12)).setAAD(aad).setAuthTag(ciphertext.subarray(-16))
          try {
            return Buffer.concat([decipher.update(ciphertext.subarray(12, -16)), decipher.final()])
          } catch {
            return undefined
          }
        })
      })
    },
    signWithRoot: async (permit, keyId, messages) => {
      permit.assertAllows('sign', keyId)
      return use(() => messages.map((message) => sign('sha256', hsm.corrupt ? sha256(message) : message, { key: rootOf(keyId).privateKey, ...raw })))
    },
    rootPublicKey: (keyId) => rootOf(keyId).publicKey.export({ format: 'der', type: 'spki' }),
    mac: refuse,
    makeCardMaster: refuse,
    makeTransportKey: refuse,
    fillCards: refuse,
    checkCardMacs: refuse,
    milenageChallenge: refuse,
    milenageAnswer: refuse,
  }
  return hsm
}
