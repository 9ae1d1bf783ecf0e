import type { Attribute, Handle } from 'pkcs11js'
import { classify, cryptokiError } from './errors.ts'
import { CKA, type KeySpec } from './templates.ts'
import { type Token, tokenError } from './token.ts'

/** `cannot`: the token refused. `wrong`: it did it, and not as it should have. `reason` names functions, return values and tests, never a value. */
export type Outcome = { readonly does: 'works'; readonly remark?: string } | { readonly does: 'cannot' | 'wrong'; readonly reason: string }

/** One thing that a token is tried with, in a session of its own: the keys that it makes end with it, and so does an operation that it left open. */
export class Trial {
  readonly token: Token
  readonly #wrong: string[]

  private constructor(token: Token, wrong: string[]) {
    this.token = token
    this.#wrong = wrong
  }

  /** Throws nothing. */
  static run(token: Token, work: (trial: Trial) => string | void): Outcome {
    const wrong: string[] = []
    try {
      const remark = token.apart((inner) => work(new Trial(inner, wrong)))
      if (wrong.length === 0) return { does: 'works', ...(typeof remark === 'string' ? { remark } : {}) }
    } catch (error) {
      const own = tokenError(error)
      const { reason } = classify(own)
      if (wrong.length === 0) return { does: cryptokiError(own) === undefined ? 'wrong' : 'cannot', reason }
      wrong.push(reason)
    }
    return { does: 'wrong', reason: `wrong: ${wrong.join(', ')}` }
  }

  /** `value`: hexadecimal, or what the answer must be. */
  expect(name: string, got: Uint8Array | boolean, value: string | boolean): void {
    if ((typeof got === 'boolean' ? got : Buffer.from(got).toString('hex')) !== value) this.#wrong.push(name)
  }

  /** Whether the token answers by an error. */
  refuses(work: () => void): boolean {
    try {
      work()
      return false
    } catch (error) {
      if (cryptokiError(tokenError(error)) === undefined) throw error
      return true
    }
  }

  import(spec: KeySpec, ...value: readonly Attribute[]): Handle {
    return this.token.importKey(this.token.form(spec), ...value)
  }

  /** A secret key of published value, in hexadecimal. */
  known(value: string, spec: KeySpec): Handle {
    return this.import(spec, { type: CKA.VALUE, value: Buffer.from(value, 'hex') })
  }

  generate(spec: KeySpec, lengthBytes: number): Handle {
    return this.token.generate(this.token.form(spec), lengthBytes)
  }

  generatePair(mechanism: number, params: Buffer, publicSpec: KeySpec, privateSpec: KeySpec): { readonly publicKey: Handle; readonly privateKey: Handle } {
    return this.token.generatePair(mechanism, params, this.token.form(publicSpec), this.token.form(privateSpec))
  }
}
