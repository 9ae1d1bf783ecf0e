import { readdirSync, readFileSync } from 'node:fs'
import type { Handle, PKCS11 } from 'pkcs11js'
import { describe, expect, it } from 'vitest'
import { CKK } from './mechanisms.ts'
import { AttributeError, CKA, CKO, KeyForm, type KeySpec } from './templates.ts'

/** What is made, derived or unwrapped with SENSITIVE false: each has its reason here, and what is no public constant is in pkcs11/README.md too. */
const READABLE: Readonly<Record<string, string>> = {
  'master-k1.ts': 'E(master, 0), of which K1 is made, which is not secret',
  'operator-value.ts': 'OP, into a buffer that is wiped',
  'capabilities.ts': 'the published keys of RFC 5649',
  'probe.ts': 'a published value, which must be readable where another is not',
}

/** Where keys are made of values that are outside the token. */
const BROUGHT_IN: Readonly<Record<string, string>> = {
  'fill-cards.ts': 'OPc, for as long as it is delivered',
  'kept-head.ts': 'the last signed head of the log, which is no key',
  'otp-secret.ts': 'secrets of one-time codes, which the person’s device has too',
  'root-handles.ts': '16 zeros, which are wrapped for a check value',
  'capabilities.ts': 'a published key',
  'gcm.ts': 'a published key',
  'token.ts': 'a published key',
  'trial.ts': 'published keys',
  'bare-loop-process.ts': 'keys of a benchmark, which no service runs',
}

const sources = readdirSync(import.meta.dirname, { recursive: true, encoding: 'utf8' })
  .filter((path) => path.endsWith('.ts') && !/\.test(-d)?\.ts$|^testing\//.test(path) && path !== 'templates.ts')
  .map((path) => ({ path, code: readFileSync(`${import.meta.dirname}/${path}`, 'utf8').replace(/\/\*[\s\S]*?\*\/|(^|\s)\/\/.*$/gm, '$1') }))
const naming = (pattern: RegExp): string[] => sources.flatMap(({ path, code }) => (pattern.test(code) ? [path] : [])).sort()

describe('a template', () => {
  it('says SENSITIVE true for everything but public keys and what is named here', () => {
    expect(sources.length).toBeGreaterThan(60)
    expect(naming(/\binsecureReadable\b/)).toEqual(Object.keys(READABLE).sort())
    // Templates are written by KeyForm alone, so that no other way to the flag is there. The data object of unfinished.ts is no key.
    expect(naming(/\bCKA\.SENSITIVE\b|\bSENSITIVE: /)).toEqual(['bare-loop-process.ts', 'key-attributes.ts']) // which read it
    const flag = (insecureReadable?: true): unknown =>
      new KeyForm({ class: CKO.SECRET, keyType: CKK.AES, uses: [], mechanisms: [], ...(insecureReadable && { insecureReadable }) }, true)
        .template()
        .find(({ type }) => type === CKA.SENSITIVE)?.value
    expect([flag(), flag(true)]).toEqual([true, false])
  })

  it('gets a value from outside where it is named here, and nowhere else', () => {
    expect(naming(/\btype: CKA\.VALUE\b/)).toEqual(Object.keys(BROUGHT_IN).sort())
  })
})

describe('a key that is made', () => {
  /** A token that answers attributes as the template asked, but those that it lies about. */
  const reading = (form: KeyForm, lies: Readonly<Record<number, number>> = {}): { readonly lib: PKCS11; readonly asked: number[][] } => {
    const asked: number[][] = []
    const valueOf = (type: number): Buffer => {
      const value = form.template().find((attribute) => attribute.type === type)?.value
      return Buffer.isBuffer(value) ? value : Buffer.from([lies[type] ?? (value === true ? 1 : 0)])
    }
    const lib = {
      C_GetAttributeValue: (_session: Handle, _key: Handle, wanted: readonly { readonly type: number }[]) => {
        asked.push(wanted.map(({ type }) => type))
        return wanted.map(({ type }) => ({ type, value: valueOf(type) }))
      },
    }
    return { lib: lib as unknown as PKCS11, asked }
  }
  const handle = Buffer.alloc(8)
  const stays: KeySpec = { class: CKO.SECRET, keyType: CKK.AES, uses: ['sign'], mechanisms: [] }
  const leaves: KeySpec = { ...stays, extractable: true, wrapWithTrusted: true }

  it('is read back as a whole when it is the first of its form, and in what keeps its value in the token when it is a later one', () => {
    for (const [spec, how] of [
      [stays, CKA.EXTRACTABLE],
      [leaves, CKA.WRAP_WITH_TRUSTED],
    ] as const) {
      const form = new KeyForm(spec, true)
      const { lib, asked } = reading(form)
      for (let key = 0; key < 3; key++) form.assert(lib, handle, handle)
      expect(asked[0]).toHaveLength(form.template().length - 2) // all but class and type
      expect(asked.slice(1).map((types) => types.toSorted((a, b) => a - b))).toEqual([
        [CKA.SENSITIVE, how],
        [CKA.SENSITIVE, how],
      ])
    }
  })

  it.each<readonly [claim: string, spec: KeySpec, lie: Readonly<Record<number, number>>]>([
    ['can be read', stays, { [CKA.SENSITIVE]: 0 }],
    ['can leave', stays, { [CKA.EXTRACTABLE]: 1 }],
    ['can leave under any key', leaves, { [CKA.WRAP_WITH_TRUSTED]: 0 }],
  ])('is refused when it %s, the first and every later one', (_claim, spec, lie) => {
    const form = new KeyForm(spec, true)
    const [liar, honest] = [reading(form, lie).lib, reading(form).lib]
    expect(() => form.assert(liar, handle, handle)).toThrow(AttributeError)
    form.assert(honest, handle, handle)
    expect(() => form.assert(liar, handle, handle)).toThrow(AttributeError)
  })
})
