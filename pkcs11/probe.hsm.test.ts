import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { Problem } from '../core/problem.ts'
import { CAPABILITIES, type Capability, CAPABILITY_NAMES, type CapabilityName, tryCapability } from './capabilities.ts'
import { CKK, CKM } from './mechanisms.ts'
import { selfTest, SelfTestError, tryProbe } from './probe.ts'
import { PROBE_NAMES } from './probe-names.ts'
import { CKO, type KeySpec } from './templates.ts'
import { type TestToken, testToken } from './testing/test-token.ts'
import { tokenInProcess } from './testing/token-in-process.ts'
import { findSlot, openModule } from './slots.ts'
import { Token } from './token.ts'
import { findSoftHsm } from './token-folder.ts'

let test: TestToken
let token: Token
beforeAll(async () => {
  test = await testToken()
  token = tokenInProcess(test.folder).token
})
afterAll(() => test.close())
afterEach(() => vi.restoreAllMocks())

type Function = 'C_GenerateKey' | 'C_GenerateKeyPair' | 'C_DeriveKey' | 'C_WrapKey' | 'C_UnwrapKey' | 'C_EncryptInit' | 'C_DecryptInit' | 'C_SignInit'

/** A function of the module that answers an error, as pkcs11js throws it. */
function refuse(name: Function, code: number, ckr: string, lib = token.lib): void {
  vi.spyOn(lib, name).mockImplementation(() => {
    const error = Object.assign(new Error(ckr), { name: 'Pkcs11Error', code, method: name })
    error.stack = `Pkcs11Error: ${ckr}\n    at obj.<computed> [as ${name}] (index.js:119:30)`
    throw error
  })
}

const failed = (): string => {
  try {
    selfTest(token, [])
    return ''
  } catch (error) {
    if (!(error instanceof SelfTestError)) throw error
    return error.message
  }
}

describe('SoftHSM 2.6.1', () => {
  it('does all that is tried, enforces all that is probed, and passes the self-test', () => {
    const untried: string[] = []
    for (const name of CAPABILITY_NAMES) {
      const outcome = tryCapability(token, name)
      if (outcome === undefined) untried.push(name)
      else expect(outcome, name).toMatchObject({ does: 'works' })
    }
    expect(untried).toEqual(['trusted'])
    for (const name of PROBE_NAMES) expect(tryProbe(token, name), name).toEqual({ enforced: true })
    expect(selfTest(token, [])).toEqual([])
  })

  it('keeps nothing of the self-test: no object, and no session', () => {
    const count = (): { objects: number; sessions: number } => {
      token.lib.C_FindObjectsInit(token.handle, [])
      const objects = token.lib.C_FindObjects(token.handle, 1_000).length
      token.lib.C_FindObjectsFinal(token.handle)
      return { objects, sessions: token.lib.C_GetTokenInfo(token.lib.C_GetSessionInfo(token.handle).slotID).sessionCount }
    }
    const before = count()
    selfTest(token, [])
    refuse('C_WrapKey', 0x70, 'CKR_MECHANISM_INVALID')
    expect(failed()).not.toBe('')
    vi.restoreAllMocks()
    expect(count()).toEqual(before)
  })
})

describe('a token that computes something else does not start, whichever it is', () => {
  /** One bit of what the method answers, or all of it for what only says yes or no. */
  const LIES: Readonly<Partial<Record<CapabilityName, 'cmac' | 'wrap' | 'sign' | 'encryptBlock' | 'read'>>> = {
    'aes-cmac': 'cmac',
    'aes-kwp': 'wrap',
    'p256': 'sign',
    'p256-wrapped': 'sign',
    'hmac-sha256': 'sign',
    'hmac-sha1': 'sign',
    'aes-cbc-derive': 'read',
    'aes-ecb': 'encryptBlock',
    'copy': 'cmac',
    'ed25519': 'sign',
  }
  it.each(Object.entries(LIES) as [CapabilityName, 'cmac'][])('%s', (name, method) => {
    const { title }: Capability = CAPABILITIES[name]
    const right = Token.prototype[method]
    vi.spyOn(Token.prototype, method).mockImplementation(function lie(this: Token, ...args) {
      const value = Buffer.from(right.apply(this, args))
      value[value.length - 1] = (value.at(-1) ?? 0) ^ 1
      return value
    })
    expect(tryCapability(token, name)).toMatchObject({ does: 'wrong' })
    expect(failed()).toContain(title)
  })

  it('ecdsa-verify, of a token that finds every signature right', () => {
    const check = token.lib.C_Verify.bind(token.lib)
    vi.spyOn(token.lib, 'C_Verify').mockImplementation((...args: Parameters<typeof check>) => {
      try {
        check(...args)
      } catch {
        // It ends the operation all the same.
      }
      return true
    })
    expect(tryCapability(token, 'ecdsa-verify')).toEqual({ does: 'wrong', reason: 'wrong: RFC 6979 A.2.5 with another digest' })
    expect(failed()).toContain(CAPABILITIES['ecdsa-verify'].title)
  })

  it('rsa-oaep and aes-gcm', () => {
    const right = token.lib.C_Encrypt.bind(token.lib)
    vi.spyOn(token.lib, 'C_Encrypt').mockImplementation((session: Buffer, data: Buffer, out: Buffer) => {
      const value = right(session, data, out)
      value[0] = (value[0] ?? 0) ^ 1
      return value
    })
    expect(tryCapability(token, 'aes-gcm')).toMatchObject({ does: 'wrong' })
    vi.restoreAllMocks()
    const wrap = token.lib.C_WrapKey.bind(token.lib) as (...args: readonly unknown[]) => Buffer
    vi.spyOn(token.lib, 'C_WrapKey').mockImplementation((...args: readonly unknown[]) => {
      const value = wrap(...args)
      value[0] = (value[0] ?? 0) ^ 1
      return value
    })
    expect(tryCapability(token, 'rsa-oaep')).toMatchObject({ does: 'wrong' })
  })
})

describe('a token that lacks something', () => {
  it('that the service can do without starts, and says so when it is asked for it', () => {
    refuse('C_DeriveKey', 0x70, 'CKR_MECHANISM_INVALID')
    expect(tryCapability(token, 'aes-cbc-derive')).toEqual({ does: 'cannot', reason: 'C_DeriveKey answered CKR_MECHANISM_INVALID (0x70)' })
    expect(selfTest(token, [])).toEqual([])
    vi.restoreAllMocks()
    refuse('C_DecryptInit', 0x54, 'CKR_FUNCTION_NOT_SUPPORTED')
    expect(tryCapability(token, 'aes-gcm')).toMatchObject({ does: 'cannot' })
    expect(selfTest(token, [])).toEqual([])
  })

  it('that it cannot do without does not start', () => {
    refuse('C_UnwrapKey', 0x54, 'CKR_FUNCTION_NOT_SUPPORTED')
    expect(failed()).toContain('AES-KWP (RFC 5649), wrap and unwrap: C_UnwrapKey answered CKR_FUNCTION_NOT_SUPPORTED (0x54)')
  })

  it('has no AES-KWP where neither number is known, or gives the published value', () => {
    const slot = findSlot(openModule({ modulePath: findSoftHsm() }), { serial: token.serial })
    if (slot === undefined) throw new Error('no token')
    refuse('C_WrapKey', 0x70, 'CKR_MECHANISM_INVALID', slot.lib)
    const named = { code: 'mechanism-unsupported', detail: expect.stringContaining('AES_KEY_WRAP_PAD (0x210a) or AES_KEY_WRAP_KWP (0x210b)') as string }
    expect(caught(() => Token.openWithoutLogin(slot).kwp)).toMatchObject(named)
    vi.restoreAllMocks()
    vi.spyOn(slot.lib, 'C_WrapKey').mockReturnValue(Buffer.alloc(24) as never)
    expect(caught(() => Token.openWithoutLogin(slot).kwp)).toMatchObject(named)
    vi.restoreAllMocks()
    expect(Token.openWithoutLogin(slot).kwp).toBe(CKM.AES_KEY_WRAP_PAD)
  })

  const ECB: KeySpec = { class: CKO.SECRET, keyType: CKK.AES, uses: ['encrypt', 'sign', 'derive', 'wrap', 'unwrap'], mechanisms: [CKM.AES_ECB] }
  it.each<[Function, string, (inner: Token) => unknown]>([
    ['C_GenerateKey', 'AES_KEY_GEN (0x1080)', (inner) => inner.generate(inner.form(ECB), 16)],
    ['C_SignInit', 'AES_CMAC (0x108a)', (inner) => inner.cmac(Buffer.alloc(8), Buffer.alloc(16))],
    ['C_EncryptInit', 'AES_ECB (0x1081)', (inner) => inner.encryptBlock(Buffer.alloc(8), Buffer.alloc(16))],
    ['C_DeriveKey', 'AES_CBC_ENCRYPT_DATA (0x1105)', (inner) => inner.deriveCbc(Buffer.alloc(8), Buffer.alloc(16), Buffer.alloc(16), inner.form(ECB))],
    ['C_WrapKey', 'AES_KEY_WRAP_PAD (0x210a)', (inner) => inner.wrap(Buffer.alloc(8), Buffer.alloc(8))],
    ['C_UnwrapKey', 'AES_KEY_WRAP_PAD (0x210a)', (inner) => inner.unwrap(Buffer.alloc(8), Buffer.alloc(24), inner.form(ECB))],
  ])('%s: the problem names token and mechanism', (name, mechanism, work) => {
    expect(token.kwp).toBe(CKM.AES_KEY_WRAP_PAD)
    for (const [code, ckr] of [
      [0x70, 'CKR_MECHANISM_INVALID'],
      [0x54, 'CKR_FUNCTION_NOT_SUPPORTED'],
    ] as const) {
      refuse(name, code, ckr)
      const problem = caught(() => work(token))
      expect(problem).toMatchObject({ code: 'mechanism-unsupported', status: 501, cause: { code } })
      for (const part of [mechanism, token.label, token.serial]) expect((problem as Problem).detail).toContain(part)
      vi.restoreAllMocks()
    }
    refuse(name, 0x68, 'CKR_KEY_FUNCTION_NOT_PERMITTED')
    expect(caught(() => work(token))).not.toBeInstanceOf(Problem)
  })
})

describe('a probe', () => {
  it('finds a token that obeys', () => {
    vi.spyOn(Token.prototype, 'read').mockReturnValue(Buffer.alloc(16))
    expect(tryProbe(token, 'sensitive')).toEqual({ enforced: false })
    expect(failed()).toContain('the token does not enforce sensitive')
    expect(() => selfTest(token, ['sensitive'])).toThrow(SelfTestError) // and what it reads is wrong besides
    vi.restoreAllMocks()
    vi.spyOn(Token.prototype, 'wrap').mockReturnValue(Buffer.alloc(24))
    for (const name of ['not-extractable', 'wrap-with-trusted'] as const) expect(tryProbe(token, name)).toEqual({ enforced: false })
    vi.restoreAllMocks()
    vi.spyOn(Token.prototype, 'cmac').mockReturnValue(Buffer.alloc(16))
    expect(tryProbe(token, 'allowed-mechanisms')).toEqual({ enforced: false })
  })

  it('is not content with a token that refuses everything, or all after something', () => {
    refuse('C_WrapKey', 0x5, 'CKR_GENERAL_ERROR')
    expect(tryProbe(token, 'not-extractable')).toEqual({ enforced: false, reason: 'C_WrapKey answered CKR_GENERAL_ERROR (0x5)' })
    expect(failed()).toContain('not-extractable (could not be probed: C_WrapKey answered CKR_GENERAL_ERROR (0x5))')
    vi.restoreAllMocks()

    const wrap = Token.prototype.wrap
    let calls = 0
    vi.spyOn(Token.prototype, 'wrap').mockImplementation(function once(this: Token, ...args) {
      if (++calls > 1) throw Object.assign(new Error('CKR_DEVICE_ERROR'), { name: 'Pkcs11Error', code: 0x30 })
      return wrap.apply(this, args)
    })
    expect(tryProbe(token, 'wrap-with-trusted')).toMatchObject({ enforced: false, reason: expect.stringContaining('CKR_DEVICE_ERROR') as string })
  })
})

function caught(work: () => unknown): unknown {
  try {
    work()
    return undefined
  } catch (error) {
    return error
  }
}
