import { execFileSync } from 'node:child_process'
import { constants, createDecipheriv, createPrivateKey, createPublicKey, generateKeyPairSync, privateDecrypt, publicEncrypt } from 'node:crypto'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import type { Handle } from 'pkcs11js'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { aesCmacKey } from '../clients/cmac.ts'
import { encodeRow } from '../core/row.ts'
import { canRun } from '../core/testing/tools.ts'
import { SecretScan } from '../server/testing/secret-scan.ts'
import { backupOf, encodeBackup, type TokenBackup } from './backup-file.ts'
import { fingerprintOf } from './ceremony/backup-recipient.ts'
import { makeTrusted } from './ceremony/officer.ts'
import { forkCeremony } from './ceremony/run-ceremony.ts'
import { syncFolder } from './ceremony/sync-folder.ts'
import { keyBackupRow } from './key-backup.ts'
import { CKK, CKM } from './mechanisms.ts'
import { SYSTEM_KEYS } from './root-keys.ts'
import { CKA, CKO } from './templates.ts'
import { softToken, type SoftToken } from './testing/soft-token.ts'
import { type TestToken, testToken } from './testing/test-token.ts'
import { findSlot, openModule } from './slots.ts'
import { Token } from './token.ts'
import { findSoftHsm, TokenFolder } from './token-folder.ts'

/** The value of a wrapping key, known here alone. */
const KNOWN = Buffer.from('c0ffee5eedc0ffee5eedc0ffee5eedc0ffee5eedc0ffee5eedc0ffee5eed0001', 'hex')

// A second opinion where OpenSC is installed; the last test asks the same without it.

let test: TestToken
let token: Token
let known: Handle
let files: TokenFolder
beforeAll(async () => {
  test = await testToken()
  files = new TokenFolder(test.folder)
  process.env['SOFTHSM2_CONF'] = files.configuration
  const slot = findSlot(openModule({ modulePath: findSoftHsm() }), { serial: test.identity.serial })
  if (slot === undefined) throw new Error('no token')
  token = Token.openWithoutLogin(slot)
  // The ceremony itself, with a generator that gives the known value.
  const generate = token.generate.bind(token)
  token.generate = (form) => token.importKey(form, { type: CKA.VALUE, value: KNOWN })
  const settings = { modulePath: findSoftHsm(), pinSource: files.pinFile, officerPinFile: files.officerPinFile }
  known = makeTrusted(token, settings, { label: 'transport:known', uses: ['wrap'] }, { extractable: true, work: () => undefined }).handle
  token.generate = generate
  syncFolder(files.tokensFolder)
})
afterAll(() => test.close())

const bytesOnDisk = (folder: string): Buffer =>
  Buffer.concat(
    readdirSync(folder, { withFileTypes: true, recursive: true }).flatMap((entry) =>
      entry.isFile() ? [readFileSync(join(entry.parentPath, entry.name))] : [],
    ),
  )

describe('a wrapping key', () => {
  it('is not in the token’s folder in clear; what is in clear there is found', () => {
    const disk = bytesOnDisk(files.tokensFolder)
    expect(disk.includes(KNOWN)).toBe(false)
    expect(disk.includes(KNOWN.subarray(0, 8))).toBe(false)
    // The control: the public part of a root key, which is in clear.
    const root = test.identity.keys.find(({ keyId }) => keyId === 'root:ca-root')
    expect(disk.includes(Buffer.from(root !== undefined && 'publicKey' in root ? root.publicKey.subarray(-64) : KNOWN))).toBe(true)
  })

  it('works, and by nothing but KWP', () => {
    const key = token.generate(token.form({ class: CKO.SECRET, keyType: CKK.AES, uses: [], mechanisms: [], extractable: true, wrapWithTrusted: true }), 16)
    expect(token.wrap(known, key)).toHaveLength(24)
    expect(() => token.lib.C_WrapKey(token.handle, { mechanism: 0x2109 }, known, key, Buffer.alloc(64))).toThrow('CKR_MECHANISM_INVALID')
    expect(() => token.encryptBlock(known, Buffer.alloc(16))).toThrow('CKR_KEY_FUNCTION_NOT_PERMITTED')
    expect(() => token.cmac(known, Buffer.alloc(16))).toThrow('CKR_KEY_FUNCTION_NOT_PERMITTED')
    token.destroy(key)
  })

  it.runIf(canRun('pkcs11-tool'))('is seen by no other program without login, and no value of a key is shown with it (pkcs11-tool of OpenSC)', () => {
    const list = (...login: string[]): string =>
      execFileSync('pkcs11-tool', ['--module', findSoftHsm(), '--list-objects', ...login], {
        env: { ...process.env, SOFTHSM2_CONF: files.configuration },
        stdio: ['ignore', 'pipe', 'ignore'],
      }).toString()
    const open = list()
    expect(open).toContain('root:ca-root') // the public part
    expect(open).not.toContain('Secret Key Object')
    expect(open).not.toContain('Private Key Object')
    expect(open).not.toContain(SYSTEM_KEYS.storageKek)
    const own = list('--login', '--pin', readFileSync(files.pinFile, 'utf8').trim())
    expect(own).toContain('transport:known')
    expect(own).toContain(SYSTEM_KEYS.storageKek)
    expect(own.toLowerCase()).not.toContain('c0ffee5eed')
  })

  it('keeps its flags: no flip in place, none by a copy', () => {
    const kek = token.find(CKO.SECRET, SYSTEM_KEYS.storageKek) as Handle
    const flips = [
      { type: CKA.SENSITIVE, value: false },
      { type: CKA.EXTRACTABLE, value: true },
      { type: CKA.ENCRYPT, value: true },
      { type: CKA.DECRYPT, value: true },
      { type: CKA.MODIFIABLE, value: true },
      { type: CKA.PRIVATE, value: false },
      { type: CKA.TRUSTED, value: true },
      { type: CKA.ALLOWED_MECHANISMS, value: Buffer.from('8510000000000000', 'hex') },
    ]
    for (const key of [known, kek]) {
      for (const flip of flips) {
        const name = `0x${flip.type.toString(16)}`
        expect(() => token.lib.C_SetAttributeValue(token.handle, key, [flip]), name).toThrow(/^CKR_/)
        expect(() => token.lib.C_CopyObject(token.handle, key, [{ type: CKA.TOKEN, value: false }, flip]), name).toThrow(/^CKR_/)
      }
      expect(() => token.read(key, CKA.VALUE)).toThrow('CKR_ATTRIBUTE_SENSITIVE')
      expect(token.read(key, CKA.TRUSTED)[0]).toBe(1)
    }
  })
})

describe('a key of the user', () => {
  it('is never trusted', () => {
    const template = token
      .form({ class: CKO.SECRET, keyType: CKK.AES, uses: ['wrap'], mechanisms: [token.kwp], trusted: true })
      .template({ type: CKA.VALUE_LEN, value: 32 })
    expect(() => token.lib.C_GenerateKey(token.handle, { mechanism: CKM.AES_KEY_GEN }, template)).toThrow(/^CKR_/)
  })
})

it('without login there are public keys and nothing else', () => {
  token.logout()
  try {
    const found = (objectClass: number): boolean[] =>
      ['transport:known', SYSTEM_KEYS.storageKek, 'root:ca-root'].map((label) => token.find(objectClass, label) !== undefined)
    expect(found(CKO.SECRET)).toEqual([false, false, false])
    expect(found(CKO.PRIVATE)).toEqual([false, false, false])
    expect(found(CKO.PUBLIC)).toEqual([false, false, true])
  } finally {
    token.login('user', files.pinFile)
  }
})

describe('a backup and its restore', () => {
  /** A recipient in software, so that the test knows every value. */
  const software = generateKeyPairSync('rsa', { modulusLength: 3072 })
  const spki = software.publicKey.export({ format: 'der', type: 'spki' })
  const KWP = 'id-aes256-wrap-pad'
  let folder: string
  let [a, b]: SoftToken[] = []
  let backup: TokenBackup
  let kek: Buffer
  const scan = new SecretScan()

  const unwrap = (wrapped: Uint8Array): Buffer => {
    const decipher = createDecipheriv(KWP, kek, Buffer.from('a65959a6', 'hex'))
    return Buffer.concat([decipher.update(wrapped), decipher.final()])
  }
  /** The value of a symmetric key, the scalar of a private one. */
  const valueOf = ({ backup: key }: TokenBackup['keys'][number]): Buffer =>
    key.algorithm === 'ec-p256'
      ? Buffer.from(createPrivateKey({ key: unwrap(key.wrapped), format: 'der', type: 'pkcs8' }).export({ format: 'jwk' }).d ?? '', 'base64url')
      : unwrap(key.wrapped)

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'gridseal-secrecy-'))
    ;[a, b] = await Promise.all(['a', 'b'].map((label) => softToken(folder, label)))
  })
  afterAll(() => rmSync(folder, { recursive: true, force: true }))

  /** Reads every file of a folder again and again, until `work` is done. Answers how often, and what it found. */
  async function watched(work: () => Promise<unknown>): Promise<{ readonly looks: number; readonly found: ReturnType<SecretScan['folder']> }> {
    const done = new AbortController()
    const working = work().finally(() => done.abort())
    const found: ReturnType<SecretScan['folder']> = []
    let looks = 0
    for (; !done.signal.aborted; looks += 1) {
      found.push(...scan.folder(folder))
      await wait(2)
    }
    await working
    return { looks, found: [...found, ...scan.folder(folder)] }
  }

  it('leaves no key in clear on the disk of the token that it was made in', async () => {
    const first = a as SoftToken
    const { backups } = await forkCeremony(first.environment, 'makeRootKeys', first.settings, { recipient: spki })
    backup = backupOf(backups)
    kek = privateDecrypt({ key: software.privateKey, oaepHash: 'sha1', padding: constants.RSA_PKCS1_OAEP_PADDING }, backup.kek.backup.wrapped)
    scan.add('backup KEK', kek)
    for (const key of backup.keys) scan.add(key.backup.keyId, valueOf(key))
    expect(backup.keys.every((key) => valueOf(key).length === 32)).toBe(true)
    expect(scan.folder(folder)).toEqual([])
    expect(scan.text(encodeBackup(backup, new Date().toISOString()), 'the file')).toEqual([])
    // The control: what is in clear is found.
    writeFileSync(join(folder, 'control'), kek)
    expect(scan.folder(folder)).toMatchObject([{ secret: 'backup KEK', place: 'control' }])
    rmSync(join(folder, 'control'))
  })

  it('leaves none on the disk of the token that is restored, at any moment of it', async () => {
    const second = b as SoftToken
    const { publicKey } = await forkCeremony(second.environment, 'makeBackupRecipient', second.settings)
    // The same KEK for the second token, sealed as the first would have sealed it.
    const wrapped = publicEncrypt({ key: createPublicKey({ key: Buffer.from(publicKey), format: 'der', type: 'spki' }), oaepHash: 'sha1' }, kek)
    const forB = { ...backup.kek.backup, recipient: fingerprintOf(publicKey), wrapped }
    const rowMac = await aesCmacKey(valueOf(backup.keys.find((key) => key.backup.keyId === SYSTEM_KEYS.rowMac) as TokenBackup['keys'][number]))
    const given = { keys: backup.keys, kek: { backup: forB, mac: await rowMac.sign(encodeRow(keyBackupRow(forB))) } }
    const { looks, found } = await watched(async () => {
      await forkCeremony(second.environment, 'restoreKeys', second.settings, { ...given, nextRecipient: spki })
      await forkCeremony(second.environment, 'finishRootKeys', second.settings)
    })
    expect(found).toEqual([])
    expect(looks).toBeGreaterThan(20)
  })
})
