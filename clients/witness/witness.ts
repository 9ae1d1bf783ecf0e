import { equalBytes } from '../../core/bytes.ts'
import { type Checkpoint, isSignedBy, type LogKey, NoteError, parseCheckpoint } from '../../policies/audit/checkpoint.ts'
import { EMPTY_ROOT, verifyConsistency } from '../../policies/audit/merkle.ts'
import { splitNote } from '../../policies/audit/note.ts'
import { type AddCheckpoint, parseAddCheckpoint, SIZE_TYPE, WitnessRequestError } from '../../policies/audit/witness-request.ts'

/** What a witness remembers of a log: the largest checkpoint that it cosigned. */
export interface WitnessedHead {
  readonly size: number
  /** 32 bytes; of the empty tree before the first. */
  readonly root: Uint8Array
}

/** Where a witness stands on its disk. Calls are synchronous: between the check of a request and the record of it nothing else can run. */
export interface WitnessState {
  /** Keys that may sign checkpoints of the origin; none for a log that it does not know. */
  keysOf(origin: string): readonly LogKey[]
  headOf(origin: string): WitnessedHead
  /** On disk when it returns. `note`: the checkpoint as the log gave it. */
  record(origin: string, head: WitnessedHead, note: string): void
}

export interface WitnessAnswer {
  readonly status: 200 | 400 | 403 | 404 | 409 | 422
  readonly type: string
  readonly body: string
}

const TEXT = 'text/plain; charset=utf-8'
const refuse = (status: WitnessAnswer['status'], body: string): WitnessAnswer => ({ status, type: TEXT, body: `${body}\n` })

/**
 * Answers `add-checkpoint` (C2SP tlog-witness): cosigns what extends all that it cosigned of this log before, and nothing else.
 *
 * Order of effects, and what a crash after each leaves:
 * 1. the new head is on disk: nobody has a cosignature; the log asks again, is told the size, and gets it;
 * 2. the cosignature is made: the same;
 * 3. the answer.
 * INVARIANT: no two roots of one size, and no smaller tree after a larger one, as long as the state is not set back.
 */
export function addCheckpoint(body: string, { state, cosign }: { readonly state: WitnessState; readonly cosign: (text: string) => string }): WitnessAnswer {
  let asked: { readonly request: AddCheckpoint; readonly text: string; readonly checkpoint: Checkpoint }
  try {
    const request = parseAddCheckpoint(body)
    const { text } = splitNote(request.note)
    asked = { request, text, checkpoint: parseCheckpoint(text) }
  } catch (error) {
    if (error instanceof WitnessRequestError || error instanceof NoteError) return refuse(400, error.message)
    throw error
  }
  const { request, text, checkpoint } = asked
  const { origin, size, root } = checkpoint
  const keys = state.keysOf(origin)
  if (keys.length === 0) return refuse(404, 'this witness does not know the log')
  if (!keys.some((key) => isSignedBy(request.note, key))) return refuse(403, 'no known key of the log signed this checkpoint')
  if (request.oldSize > size) return refuse(400, 'the old size is larger than the checkpoint')
  const head = state.headOf(origin)
  if (request.oldSize !== head.size) return { status: 409, type: SIZE_TYPE, body: `${head.size}\n` }
  if (size === head.size && !equalBytes(root, head.root)) return refuse(409, 'this witness knows another root of this size: the log has two histories')
  if (!extend(head, checkpoint, request.proof)) return refuse(422, 'the checkpoint is not proven to extend the last one')
  if (size > head.size) state.record(origin, { size, root }, request.note)
  return { status: 200, type: TEXT, body: `${cosign(text)}\n` }
}

function extend(from: WitnessedHead, to: Checkpoint, proof: readonly Uint8Array[]): boolean {
  if (from.size > 0) return verifyConsistency({ from: from.size, to: to.size, fromRoot: from.root, toRoot: to.root, proof })
  return proof.length === 0 && (to.size > 0 || equalBytes(to.root, EMPTY_ROOT))
}
