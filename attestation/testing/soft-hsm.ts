import { createHmac, generateKeyPairSync, randomBytes, sign } from 'node:crypto'
import { equalBytes } from '../../core/bytes.ts'
import type { KeyId } from '../../core/ids.ts'
import { Problem } from '../../core/problem.ts'
import { encodeRow, type Row, type RowSealer } from '../../core/row.ts'
import { type Hsm, ROOT_KEYS, type StoredKey } from '../../pkcs11/index.ts'
import { autnOf, cmac, kdf3, milenage, type MilenageKeys, opcOf, readAuts } from './milenage.ts'

/** The token's verbs that attestation/ uses, in software: keys by their ids. It checks rows and permits as a lane does, and says what it was asked. */
export function softHsm() {
  const keys = new Map<KeyId, Uint8Array>()
  const calls: string[] = []
  /** While it is away, every verb fails. */
  const state = { isAway: false }
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const spki = publicKey.export({ format: 'der', type: 'spki' })
  const macKey = randomBytes(32)
  const macOf = (row: Row): Uint8Array => createHmac('sha256', macKey).update(encodeRow(row)).digest().subarray(0, 16)

  const sealer: RowSealer = {
    macRows: (rows) => Promise.resolve(rows.map(macOf)),
    assertRows: (rows) => {
      const wrong = rows.find(({ row, mac }) => !equalBytes(macOf(row), mac))
      return wrong === undefined
        ? Promise.resolve()
        : Promise.reject(new Problem('integrity-failed', `The stored row ${wrong.row.id} of ${wrong.row.table} is not what the service wrote.`))
    },
  }
  const assertThere = (): void => {
    if (state.isAway) throw new Problem('hsm-unavailable', 'The HSM is away.')
  }
  const keyOf = async ({ id, sealed }: StoredKey): Promise<Uint8Array> => {
    assertThere()
    await sealer.assertRows([sealed])
    const key = keys.get(id)
    if (key === undefined) throw new Error(`no key ${id}`)
    return key
  }
  const pairOf = async (stored: StoredKey, operatorKey: StoredKey): Promise<MilenageKeys> => {
    const ki = await keyOf(stored)
    return { ki, opc: opcOf(ki, await keyOf(operatorKey)) }
  }
  const no = (): never => {
    throw new Error('not in the soft HSM')
  }
  const hsm: Hsm = {
    generate: (permit, id) => {
      permit.assertAllows('generate', id)
      keys.set(id, randomBytes(16))
      return Promise.resolve({ wrapped: randomBytes(24) })
    },
    signWithRoot: (permit, id, messages) => {
      permit.assertAllows('sign', id)
      calls.push('signWithRoot')
      assertThere()
      if (id !== ROOT_KEYS.result) no()
      return Promise.resolve(messages.map((message) => sign('sha256', message, { key: privateKey, dsaEncoding: 'ieee-p1363' })))
    },
    rootPublicKey: () => spki,
    checkCardMacs: async (permit, { master, type, items }) => {
      permit.assertAllows('derive', master.id)
      calls.push('checkCardMacs')
      const key = await keyOf(master)
      return items.map(({ kdd, message, mac }) => equalBytes(cmac(kdf3(key, type, kdd), message), mac))
    },
    milenageChallenge: async (permit, { ki, operatorKey, ...values }) => {
      permit.assertAllows('authenticate', ki.id)
      permit.assertAllows('unwrap', operatorKey.id)
      calls.push('milenageChallenge')
      return autnOf(await pairOf(ki, operatorKey), values)
    },
    milenageAnswer: async (permit, { ki, operatorKey, rand, answer }) => {
      permit.assertAllows('authenticate', ki.id)
      permit.assertAllows('unwrap', operatorKey.id)
      calls.push('milenageAnswer')
      const pair = await pairOf(ki, operatorKey)
      if ('auts' in answer) return { kind: 'auts', sqn: readAuts(pair, rand, answer.auts) }
      return { kind: 'res', right: equalBytes(milenage(pair, rand).res, answer.res) }
    },
    ...{ sign: no, verify: no, mac: no, makeCardMaster: no, makeTransportKey: no, fillCards: no },
  }
  return { hsm, sealer, state, calls, keys, macOf, publicKey }
}
