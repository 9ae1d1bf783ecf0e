import { once } from 'node:events'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import type { Handle } from 'pkcs11js'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { keyId } from '../core/ids.ts'
import { backupOf, encodeBackup, parseBackup, type TokenBackup } from './backup-file.ts'
import type { Recipient } from './ceremony/backup-recipient.ts'
import type { TokenShown } from './ceremony/identify-token.ts'
import { openAsUser } from './ceremony/officer.ts'
import type { KeysRestored } from './ceremony/restore-keys.ts'
import { forkCeremony } from './ceremony/run-ceremony.ts'
import { entryUrl, forkEntry } from './child.ts'
import { openHsm } from './index.ts'
import { type KekBackup, type KeyBackup, keyBackupRow, type Sealed } from './key-backup.ts'
import { SYSTEM_KEYS, type TokenIdentity } from './root-keys.ts'
import { CKA, CKO } from './templates.ts'
import { softToken, type SoftToken } from './testing/soft-token.ts'
import { checkpointKeyOf } from './token-adoption.ts'
import { tokenKeySpec } from './token-key-spec.ts'

const MASTER = keyId('master:0198f2c1')
const TRANSPORT = keyId('transport:0198f2c1')
/** A dozen ceremonies, each a process, on a busy machine. */
const KILLS_MS = 90_000

let folder: string
let a: SoftToken
let b: SoftToken
let c: SoftToken
let recipient: Recipient
let next: Recipient
let identity: TokenIdentity
let backup: TokenBackup
/** The backup KEK for the token after the restored one. */
let nextKek: KeysRestored['kek']

const restore = ({ environment, settings }: SoftToken, given: TokenBackup, nextRecipient?: Recipient): Promise<KeysRestored> =>
  forkCeremony(environment, 'restoreKeys', settings, { ...given, ...(nextRecipient === undefined ? {} : { nextRecipient: nextRecipient.publicKey }) })
const show = ({ environment, settings }: SoftToken) => forkCeremony(environment, 'showToken', settings)
const finish = ({ environment, settings }: SoftToken) => forkCeremony(environment, 'finishRootKeys', settings)

const objectsIn = ({ settings }: SoftToken): number =>
  readdirSync(settings.tokensFolder, { recursive: true }).filter((name) => String(name).endsWith('.object')).length

/** Kills a ceremony once it has written so many objects. */
async function killed(token: SoftToken, name: string, args: readonly unknown[], written: number): Promise<void> {
  const child = forkEntry(entryUrl('ceremony/ceremony-process'), token.environment)
  const [ended, before] = [once(child, 'exit'), objectsIn(token)]
  child.send({ name, args })
  while (objectsIn(token) < before + written && child.exitCode === null) await wait(1)
  child.kill('SIGKILL')
  await ended
}

/** No key without the mark: it is the first thing that is written. */
const isMarked = ({ labels, unfinished }: TokenShown): boolean => unfinished || labels.length === 0

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'gridseal-restore-'))
  ;[a, b, c] = (await Promise.all(['a', 'b', 'c'].map((label) => softToken(folder, label)))) as [SoftToken, SoftToken, SoftToken]
  recipient = await forkCeremony(b.environment, 'makeBackupRecipient', b.settings)
  next = await forkCeremony(c.environment, 'makeBackupRecipient', c.settings)
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

describe('root keys with a backup', () => {
  it(
    'kill -9 at any moment of their making: the token is not used, and the same ceremony makes them',
    async () => {
      const args = [a.settings, { recipient: recipient.publicKey }]
      for (const written of [1, 2, 4, 9]) {
        await killed(a, 'makeRootKeys', args, written)
        expect(isMarked(await show(a))).toBe(true)
      }
      const { backups, ...made } = await forkCeremony(a.environment, 'makeRootKeys', a.settings, { recipient: recipient.publicKey })
      expect((await show(a)).unfinished).toBe(true)
      process.env['SOFTHSM2_CONF'] = a.env.SOFTHSM2_CONF
      await expect(openHsm({ dataFolder: folder, lanes: 1, uri: a.uri })).rejects.toMatchObject({
        code: 'hsm-unavailable',
        detail: expect.stringContaining('did not come to its end') as string,
      })
      await finish(a)
      identity = made.identity
      expect(await show(a)).toMatchObject({ identity, unfinished: false })
      // Every key but the one that another token gets anew.
      expect(backups.slice(1).map((one) => one.backup.keyId)).toEqual(identity.keys.map((key) => key.keyId).filter((id) => id !== 'root:checkpoint'))
      backup = backupOf(backups)
    },
    KILLS_MS,
  )

  it('later masters and transport keys leave with a backup too', async () => {
    const master = await forkCeremony(a.environment, 'makeCardMaster', a.settings, { keyId: MASTER })
    const vendor = next.publicKey // any RSA-3072 key
    const transport = await forkCeremony(a.environment, 'makeTransportKey', a.settings, {
      keyId: TRANSPORT,
      recipient: vendor,
      storageKekId: SYSTEM_KEYS.storageKek,
    })
    expect(master.backup).toMatchObject({ keyId: MASTER, kcv: { method: 'kdf3-aes-gp', value: master.katKcv } })
    const later = [master.backup, transport.backup] as KeyBackup[]
    const macs = await forkCeremony(a.environment, 'macRows', a.settings, { rows: later.map(keyBackupRow) })
    backup = { ...backup, keys: [...backup.keys, ...later.map((one, at): Sealed<KeyBackup> => ({ backup: one, mac: macs[at] ?? new Uint8Array() }))] }
  })

  it('without a recipient there is none', async () => {
    const plain = await softToken(folder, 'plain')
    expect((await forkCeremony(plain.environment, 'makeRootKeys', plain.settings)).backups).toEqual([])
    expect((await forkCeremony(plain.environment, 'makeCardMaster', plain.settings, { keyId: MASTER })).backup).toBeUndefined()
    expect(await show(plain)).toMatchObject({ unfinished: false, missing: [] })
    expect((await show(plain)).backupKek).toBeUndefined()
  })
})

describe('the file', () => {
  it('is read as it was written, and not when it is damaged', () => {
    const text = encodeBackup(backup, '2026-11-25T12:00:00.000Z')
    expect(parseBackup(text)).toEqual(backup)
    for (const wrong of [text.replace('root:delivery', 'root:result'), text.slice(0, -40), '{}', '', text.replace('token-backup-v1', 'token-backup-v2')]) {
      expect(() => parseBackup(wrong)).toThrow(/request-invalid/)
    }
  })
})

describe('a restore', () => {
  const refused = (code: string, detail: string): object => ({ code, detail: expect.stringContaining(detail) as string })
  const exchanged = (change: (key: KeyBackup, keys: readonly KeyBackup[]) => KeyBackup): TokenBackup => {
    const keys = backup.keys.map((key) => key.backup)
    return { ...backup, keys: backup.keys.map(({ backup: one, mac }) => ({ backup: change(one, keys), mac })) }
  }
  const of = (keys: readonly KeyBackup[], id: string): KeyBackup => keys.find((key) => key.keyId === id) as KeyBackup

  it.each<[string, () => TokenBackup, object]>([
    [
      'two keys exchanged',
      () => exchanged((key, keys) => (key.keyId === MASTER ? { ...of(keys, 'root:blind-index'), keyId: MASTER } : key)),
      refused('integrity-failed', MASTER),
    ],
    [
      'another row-MAC key',
      () => exchanged((key, keys) => (key.keyId === 'root:row-mac' ? { ...of(keys, 'root:group-mac'), keyId: key.keyId } : key)),
      refused('integrity-failed', 'not what the token made'),
    ],
    [
      'a changed ciphertext',
      () => exchanged((key) => ({ ...key, wrapped: Buffer.from(key.wrapped).fill(7, 9, 10) })),
      refused('integrity-failed', 'root:row-mac'),
    ],
    [
      'another public key',
      () =>
        exchanged((key, keys) =>
          key.keyId === 'root:ca-root' ? { ...key, publicKey: (of(keys, 'root:result') as typeof key & { publicKey: Uint8Array }).publicKey } : key,
        ),
      refused('integrity-failed', 'root:ca-root'),
    ],
    [
      'a root key left out',
      () => ({ ...backup, keys: backup.keys.filter(({ backup: { keyId: id } }) => id !== 'root:delivery') }),
      refused('request-invalid', 'root:delivery'),
    ],
    ['a key twice', () => ({ ...backup, keys: [...backup.keys, ...backup.keys.slice(0, 1)] }), refused('request-invalid', 'twice')],
  ])('of a backup with %s is refused, and leaves the token as it was', async (_what, given, problem) => {
    await expect(restore(b, given())).rejects.toMatchObject(problem)
    expect(await show(b)).toMatchObject({ labels: [], unfinished: false })
  })

  it('into another token than the recipient, or one that has keys, is refused', async () => {
    await expect(restore(c, backup)).rejects.toMatchObject(refused('conflict', 'made for another token'))
    await expect(restore(a, backup)).rejects.toMatchObject(refused('conflict', 'made for another token'))
  })

  it(
    'kill -9 at any moment of it: the token is not used, and the same ceremony starts over',
    async () => {
      for (const written of [1, 2, 5, 12]) {
        await killed(b, 'restoreKeys', [b.settings, { ...backup, nextRecipient: next.publicKey }], written)
        expect(isMarked(await show(b))).toBe(true)
      }
      const restored = await restore(b, backup, next)
      nextKek = restored.kek
      expect(await show(b)).toMatchObject({ unfinished: true })
      await finish(b)
      const shown = await show(b)
      expect(shown).toMatchObject({ identity: restored.identity, unfinished: false, missing: [] })
      expect(shown.labels).toEqual(expect.arrayContaining([MASTER, TRANSPORT, 'root:backup-kek']))
      const same = (keys: TokenIdentity['keys']) => keys.filter((key) => key.keyId !== 'root:checkpoint')
      expect(same(restored.identity.keys)).toEqual(same(identity.keys))
      expect(restored.identity.keys).not.toEqual(identity.keys)
      await expect(restore(b, backup)).rejects.toMatchObject(refused('conflict', 'has keys already'))
    },
    KILLS_MS,
  )

  it('gives every key the form of its kind, and TRUSTED to those that wrap', () => {
    process.env['SOFTHSM2_CONF'] = b.env.SOFTHSM2_CONF
    const token = openAsUser(b.settings)
    for (const { keyId: id } of backup.keys.map((key) => key.backup)) {
      const spec = tokenKeySpec(id, token.kwp)
      const key = token.find(spec.class, id) as Handle
      expect(() => token.form({ ...spec, label: id, copyable: spec.trusted === true }).assert(token.lib, token.handle, key), id).not.toThrow()
      if (spec.class === CKO.SECRET) expect(token.read(key, CKA.TRUSTED)[0], id).toBe(spec.trusted === true ? 1 : 0)
      expect(() => token.read(key, CKA.VALUE), id).toThrow(/^CKR_/)
      expect(() => token.lib.C_SetAttributeValue(token.handle, key, [{ type: CKA.EXTRACTABLE, value: true }]), id).toThrow(/^CKR_/)
    }
  })

  it('can go on to a third token, for which the restored one was made', async () => {
    const again = await restore(c, { kek: nextKek as Sealed<KekBackup>, keys: backup.keys })
    await finish(c)
    expect((await show(c)).identity).toEqual(again.identity)
    expect((await show(c)).backupKek).toBeUndefined()
  })
})

describe('the checkpoint key', () => {
  it('has its successor beside it until that is recorded; the newest counts, and the old one is destroyed', async () => {
    const old = checkpointKeyOf((await show(b)).identity?.keys ?? [])
    const made = await forkCeremony(b.environment, 'makeNextCheckpointKey', b.settings)
    expect(checkpointKeyOf(made.keys)).not.toEqual(old)
    // Cut off here, and done again: the same key.
    expect(await forkCeremony(b.environment, 'makeNextCheckpointKey', b.settings)).toEqual(made)
    expect(await show(b)).toMatchObject({ identity: made, checkpointLabels: ['root:checkpoint', 'root:checkpoint-2'] })
    expect(await forkCeremony(b.environment, 'destroyOldCheckpointKeys', b.settings)).toEqual(['root:checkpoint'])
    expect(await forkCeremony(b.environment, 'destroyOldCheckpointKeys', b.settings)).toEqual([])
    expect(await show(b)).toMatchObject({ identity: made, checkpointLabels: ['root:checkpoint-2'], missing: [] })
  })
})
