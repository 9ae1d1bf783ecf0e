import { NoteError, parseSignatureLine } from './note.ts'
import { ADD_CHECKPOINT_PATH, type AddCheckpoint, encodeAddCheckpoint, parseToldSize, SIZE_TYPE } from './witness-request.ts'

/** What a witness says to a checkpoint (C2SP tlog-witness). Not trusted: a cosignature counts once it is verified, a size is what it says and no more. */
export type WitnessReply =
  /** Signature lines, without their line ends. */
  | { readonly kind: 'cosigned'; readonly lines: readonly string[] }
  /** The size of what it cosigned last. */
  | { readonly kind: 'size'; readonly size: number }
  /** It does not take this for a continuation of what it cosigned: another root of the same size, or a proof that does not hold. */
  | { readonly kind: 'other-history'; readonly reason: string }

/** A witness that cannot be reached, or answers what no witness answers. */
export class WitnessError extends Error {
  override readonly name = 'WitnessError'
}

const MAX_ANSWER_BYTES = 65_536
const MAX_REASON = 200

/** One exchange. Rejects with a {@link WitnessError}, at the latest after `timeoutMs` or by the signal. `url`: the submission prefix. */
export async function submitCheckpoint(
  url: string,
  request: AddCheckpoint,
  { timeoutMs, signal }: { readonly timeoutMs: number; readonly signal: AbortSignal },
): Promise<WitnessReply> {
  const { status, type, body } = await exchange(
    `${url.replace(/\/+$/, '')}${ADD_CHECKPOINT_PATH}`,
    encodeAddCheckpoint(request),
    AbortSignal.any([AbortSignal.timeout(timeoutMs), signal]),
  )
  if (status === 200) return { kind: 'cosigned', lines: signatureLines(body) }
  const size = status === 409 && type === SIZE_TYPE ? parseToldSize(body) : undefined
  if (size !== undefined) return { kind: 'size', size }
  const reason = `${status}: ${JSON.stringify(body.trim().slice(0, MAX_REASON))}`
  if (status === 409 || status === 422) return { kind: 'other-history', reason }
  throw new WitnessError(status === 404 ? `it does not watch this log, or is no witness (${reason})` : `it answered ${reason}`)
}

function signatureLines(body: string): string[] {
  if (!body.endsWith('\n')) throw new WitnessError('its answer was cut off')
  const lines = body.slice(0, -1).split('\n')
  try {
    return lines.map((line) => parseSignatureLine(line).line)
  } catch (error) {
    if (!(error instanceof NoteError)) throw error
    throw new WitnessError(`its answer is none: ${error.message}`, { cause: error })
  }
}

async function exchange(url: string, body: string, signal: AbortSignal): Promise<{ readonly status: number; readonly type: string; readonly body: string }> {
  try {
    const response = await fetch(url, { method: 'POST', body, headers: { 'content-type': 'text/plain; charset=utf-8' }, redirect: 'error', signal })
    const chunks: Uint8Array[] = []
    let length = 0
    for await (const chunk of (response.body ?? []) as AsyncIterable<Uint8Array>) {
      length += chunk.length
      if (length > MAX_ANSWER_BYTES) throw new WitnessError('its answer is too long')
      chunks.push(chunk)
    }
    const type = (response.headers.get('content-type') ?? '').split(';', 1)[0]?.trim().toLowerCase() ?? ''
    return { status: response.status, type, body: Buffer.concat(chunks).toString('utf8') }
  } catch (error) {
    if (error instanceof WitnessError) throw error
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause.message : undefined
    throw new WitnessError(`it cannot be reached: ${cause ?? (error instanceof Error ? error.message : String(error))}`, { cause: error })
  }
}
