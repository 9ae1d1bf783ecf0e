import { z } from 'zod'
import { base64 } from '../../../core/bytes.ts'
import { UUID_PATTERN } from '../../../core/ids.ts'
import { Problem } from '../../../core/problem.ts'
import { operation } from '../../operation.ts'
import { NoteError, openSuccession } from '../checkpoint.ts'
import { inclusionProof, leafHash, verifyInclusion } from '../merkle.ts'
import { encodeProof } from '../proof-file.ts'
import { archivedHint } from '../prune/prune-record.ts'
import type { FoundEntry, LogReader } from '../reader.ts'
import { storedNodes } from '../stored-nodes.ts'
import { lastSigned, type Signed, type SignedLog } from './export.ts'
import { archivedBefore } from './search.ts'

const MAX_PROOFS = 100

export const proveOperation = (log: SignedLog) =>
  operation({
    name: 'policies.audit.proof',
    summary: 'Proofs that the entries of one operation are in the log, for offline verification (docs/audit-log.md, Proof of one entry).',
    effect: 'transient',
    route: { method: 'GET', path: '/v1/policies/audit/operations/{operationId}/proof' },
    input: z.strictObject({
      operationId: z
        .string()
        .regex(UUID_PATTERN, 'not an operation id')
        .meta({ description: 'Id of the operation', example: '0198f2c1-7a40-7c3e-9d52-6a1f0b2c3d4e' }),
      from: z.coerce
        .number()
        .int()
        .min(0)
        .max(Number.MAX_SAFE_INTEGER)
        .default(0)
        .meta({ description: 'The index in the log to start at. For the next page: `next` of the answer before.' }),
      limit: z.coerce.number().int().min(1).max(MAX_PROOFS).default(20).meta({ description: 'The most entries to prove.' }),
    }),
    output: z.object({
      size: z.number().int().min(0).meta({ description: 'How many entries the checkpoint of these proofs is over.' }),
      entries: z.array(
        z.object({
          index: z.number().int().min(0).meta({ description: 'Its place in the log, from 0.' }),
          bytes: z.string().meta({ description: 'Base64 of the exact bytes that the log hashes. Format: docs/audit-log.md.' }),
          proof: z.string().meta({ description: 'A file of C2SP tlog-proof v1 for these bytes, with the signed checkpoint in it.' }),
        }),
      ),
      next: z.number().int().min(0).optional().meta({ description: 'Where the operation goes on: beyond this page, or not yet under a signed checkpoint.' }),
      archivedBefore,
    }),
    // The checkpoint first: what is found after it may lie beyond it, and nothing that lies under it is missed.
    locate: async ({ operationId, from, limit }) => {
      const provable = await provableNow(log)
      const found = await log.reader.search({ from, limit: limit + 1, operationId })
      const size = provable.last?.checkpoint.size ?? 0
      const page = found.filter(({ index }) => index < size).slice(0, limit)
      const minimumIndex = await log.reader.minimumIndex()
      return { operationId, from, limit, signed: signedOver(provable, found.slice(0, limit)), found, page, minimumIndex }
    },
    uses: () => [],
    facts: ({ operationId, from, limit }) => ({ public: { operationId, from, limit } }),
    admit: ({ found, page, minimumIndex }) => {
      if (found.length === 0)
        return new Problem(
          'not-found',
          `The log has no entry of this operation from there on. One that has just ended is there within a second or so.${archivedHint(minimumIndex)}`,
        )
      return page.length > 0 ? undefined : new Problem('conflict', 'These entries are not yet under a signed checkpoint. Ask again in a second.')
    },
    execute: async (_permit, { signed, page }) => (signed === undefined ? [] : prove(log.reader, signed, page)),
    outcomeFacts: ({ signed }, proven) => ({ public: { proven: proven.length, size: signed?.checkpoint.size ?? 0 } }),
    respond: ({ signed, found, page, minimumIndex }, proven) => {
      const next = found[page.length]?.index
      return {
        ...{ size: signed?.checkpoint.size ?? 0, entries: proven },
        ...(next === undefined ? {} : { next }),
        ...(minimumIndex === 0 ? {} : { archivedBefore: minimumIndex }),
      }
    },
  })

interface Proven {
  readonly index: number
  readonly bytes: string
  readonly proof: string
}

/** Throws `integrity-failed` when the proof that the stored tiles give does not hold: nobody is to be handed one that fails elsewhere. */
export async function prove(reader: LogReader, signed: Signed, entries: readonly FoundEntry[]): Promise<Proven[]> {
  const proofs = await proofsOf(
    reader,
    signed,
    entries.map(({ index, bytes }) => ({ index, leaf: leafHash(bytes) })),
  )
  return entries.map(({ index, bytes }, at) => ({ index, bytes: base64(bytes), proof: proofs[at] ?? '' }))
}

/** The same of entries by their leaf hashes; default the stored ones. */
export async function proofsOf(
  reader: LogReader,
  { note, checkpoint }: Signed,
  leaves: readonly { readonly index: number; readonly leaf?: Uint8Array }[],
): Promise<string[]> {
  const { size, root } = checkpoint
  const nodeAt = await storedNodes(
    (places) => reader.tiles(places),
    (node) => leaves.map(({ index }) => [node(0, index), inclusionProof(index, size, node)]),
  )
  return leaves.map(({ index, leaf }) => {
    const hashes = ifThere(() => inclusionProof(index, size, nodeAt))
    const own = leaf ?? ifThere(() => nodeAt(0, index))
    if (hashes === undefined || own === undefined || !verifyInclusion({ index, size, leaf: own, proof: hashes, root })) {
      throw new Problem(
        'integrity-failed',
        `The stored tree does not lead from the audit log's entry ${index} to the signed checkpoint over ${size}. Verify an export, and keep the database as it is.`,
      )
    }
    return encodeProof({ index, hashes, note })
  })
}

/** Undefined when a tile is missing or short. */
function ifThere<Nodes>(read: () => Nodes): Nodes | undefined {
  try {
    return read()
  } catch (error) {
    if (error instanceof RangeError) return undefined
    throw error
  }
}

/** Two checkpoints to prove under: the newest with the cosignatures of witnesses, where there is one, and the last signed. */
export interface Provable {
  readonly witnessed: Signed | undefined
  readonly last: Signed | undefined
}

/** The one with cosignatures where it is over all of these entries, else the last signed. */
export const signedOver = ({ witnessed, last }: Provable, entries: readonly { readonly index: number }[]): Signed | undefined =>
  witnessed !== undefined && entries.every(({ index }) => index < witnessed.checkpoint.size) ? witnessed : last

/** Throws `integrity-failed` where a stored checkpoint is not the log's. */
export async function provableNow(log: SignedLog): Promise<Provable> {
  try {
    const [witnessed, last] = await Promise.all([log.newestWitnessed?.(), lastSigned(log)])
    return { witnessed: witnessed === undefined ? undefined : { note: witnessed, checkpoint: openSuccession(witnessed, log.key, log.replaced) }, last }
  } catch (error) {
    if (!(error instanceof NoteError)) throw error
    throw new Problem('integrity-failed', 'The stored checkpoint is not one that the log signed. Keep the database as it is.', { cause: error })
  }
}
