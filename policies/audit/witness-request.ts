import { base64, fromBase64 } from '../../core/bytes.ts'

/** The body of `POST <submission prefix>/add-checkpoint` (C2SP tlog-witness): old size, proof of consistency, checkpoint. Form only. Pure. */

export interface AddCheckpoint {
  /** Of the checkpoint that the witness cosigned last, as the log believes. */
  readonly oldSize: number
  /** From the old size to the checkpoint's (RFC 6962 2.1.2); empty from 0. */
  readonly proof: readonly Uint8Array[]
  /** The checkpoint, a signed note. */
  readonly note: string
}

/** A body of another form. */
export class WitnessRequestError extends Error {
  override readonly name = 'WitnessRequestError'
}

export const ADD_CHECKPOINT_PATH = '/add-checkpoint'
/** Media type of an answer 409 that tells the size of the checkpoint that the witness cosigned last. */
export const SIZE_TYPE = 'text/x.tlog.size'
/** A witness reads no more, and a log sends no more. */
export const MAX_REQUEST_BYTES = 65_536

const MAX_PROOF = 63
const OLD = /^old (0|[1-9][0-9]{0,15})$/
const HASH = /^[A-Za-z0-9+/]{43}=$/
const SIZE = /^(0|[1-9][0-9]{0,15})\n$/

export const encodeAddCheckpoint = ({ oldSize, proof, note }: AddCheckpoint): string => `${[`old ${oldSize}`, ...proof.map(base64)].join('\n')}\n\n${note}`

/** Strict. Throws a {@link WitnessRequestError}. */
export function parseAddCheckpoint(body: string): AddCheckpoint {
  const end = body.indexOf('\n\n')
  if (end < 0) throw new WitnessRequestError('no empty line before the checkpoint')
  const [first = '', ...lines] = body.slice(0, end).split('\n')
  const oldSize = Number(OLD.exec(first)?.[1] ?? Number.NaN)
  if (!Number.isSafeInteger(oldSize)) throw new WitnessRequestError('the first line is not: old <size>')
  if (lines.length > MAX_PROOF) throw new WitnessRequestError(`more than ${MAX_PROOF} lines of proof`)
  const proof = lines.map((line) => {
    const hash = fromBase64(line)
    if (!HASH.test(line) || base64(hash) !== line) throw new WitnessRequestError('a line of proof is not the base64 of 32 bytes')
    return hash
  })
  return { oldSize, proof, note: body.slice(end + 2) }
}

/** The size that an answer 409 of {@link SIZE_TYPE} tells; undefined where it is none. */
export function parseToldSize(body: string): number | undefined {
  const size = Number(SIZE.exec(body)?.[1] ?? Number.NaN)
  return Number.isSafeInteger(size) ? size : undefined
}
