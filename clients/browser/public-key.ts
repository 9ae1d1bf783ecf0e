import { equalBytes, frame, fromHex, hex, sha256 } from './bytes.ts'

/**
 * What core/public-key.ts is in a browser. WebCrypto answers later, and who verifies asks at once: a signature that was not checked yet is thrown as
 * {@link Unsettled}, and {@link settled} checks it and asks again.
 */

/** Thrown by `verifies` for a signature that is not checked yet. */
class Unsettled extends Error {
  override readonly name = 'Unsettled'
  readonly settle: () => Promise<void>

  constructor(settle: () => Promise<void>) {
    super('a signature is not checked yet: use settled')
    this.settle = settle
  }
}

export class PublicKey {
  readonly algorithm: 'ed25519' | 'ecdsa-p256'
  readonly spki: Uint8Array
  /** What was found out, by the hash of key, message and signature: those may be long. */
  readonly #known: Map<string, boolean>

  constructor(algorithm: PublicKey['algorithm'], spki: Uint8Array, known: Map<string, boolean>) {
    this.algorithm = algorithm
    this.spki = spki
    this.#known = known
  }

  /** Throws {@link Unsettled}. */
  verifies(message: Uint8Array, signature: Uint8Array): boolean {
    const claim = hex(sha256(frame([this.spki, message, signature])))
    const known = this.#known.get(claim)
    if (known !== undefined) return known
    throw new Unsettled(async () => {
      const holds = await check(this, message, signature)
      if (this.#known.size >= MAX_KNOWN) this.#known.clear()
      this.#known.set(claim, holds)
    })
  }
}

const MAX_KNOWN = 1000
/** Of all keys: who asks again may have read the key again. */
const known = new Map<string, boolean>()

const ED25519 = fromHex('302a300506032b6570032100')
const P256 = fromHex('3059301306072a8648ce3d020106082a8648ce3d03010703420004')

/** Whether the point of a P-256 key is one of the curve, the check of a signature finds out. */
export function readPublicKey(spki: Uint8Array): PublicKey | undefined {
  const begins = (prefix: Uint8Array, length: number): boolean => spki.length === prefix.length + length && equalBytes(spki.subarray(0, prefix.length), prefix)
  if (begins(ED25519, 32)) return new PublicKey('ed25519', spki, known)
  return begins(P256, 64) ? new PublicKey('ecdsa-p256', spki, known) : undefined
}

/** Gives what `work` gives, which is run again while it lacks signatures: it has no effects. Throws what it throws. */
export async function settled<Result>(work: () => Result): Promise<Result> {
  for (;;) {
    try {
      return work()
    } catch (error) {
      if (!(error instanceof Unsettled)) throw error
      await error.settle()
    }
  }
}

/** Never throws but where the browser lacks the algorithm. */
async function check({ algorithm, spki }: PublicKey, message: Uint8Array, signature: Uint8Array): Promise<boolean> {
  const raw = algorithm === 'ed25519' ? signature : rawSignature(signature)
  if (raw?.length !== 64) return false
  const name = algorithm === 'ed25519' ? { name: 'Ed25519' } : { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' }
  try {
    const key = await crypto.subtle.importKey('spki', Uint8Array.from(spki), name, false, ['verify'])
    return await crypto.subtle.verify(name, key, Uint8Array.from(raw), Uint8Array.from(message))
  } catch (error) {
    if (error instanceof DOMException && error.name === 'NotSupportedError') throw error
    return false
  }
}

/** r and s, 32 bytes each, of a DER sequence of two positive numbers in their shortest form. */
function rawSignature(der: Uint8Array): Uint8Array | undefined {
  const raw = new Uint8Array(64)
  if (der[0] !== 0x30 || der[1] !== der.length - 2) return undefined
  let at = 2
  for (const place of [32, 64]) {
    const length = der[at + 1] ?? 0
    const number = der.subarray(at + 2, at + 2 + length)
    const [first = 0x80, second = 0] = number
    if (der[at] !== 0x02 || length === 0 || number.length !== length || first >= 0x80 || (length > 1 && first === 0 && second < 0x80)) return undefined
    const digits = first === 0 ? number.subarray(1) : number
    if (digits.length > 32) return undefined
    raw.set(digits, place - digits.length)
    at += 2 + length
  }
  return at === der.length ? raw : undefined
}
