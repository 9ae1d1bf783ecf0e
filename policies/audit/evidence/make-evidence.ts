import { z } from 'zod'
import { base64, fromBase64, utf8 } from '../../../core/bytes.ts'
import { UUID_PATTERN } from '../../../core/ids.ts'
import { Problem } from '../../../core/problem.ts'
import { type Caller, callerUrn } from '../../caller.ts'
import { type Download, operation } from '../../operation.ts'
import { readWithoutGaps } from '../export/stream.ts'
import type { Signed } from '../operations/export.ts'
import { prove, provableNow, signedOver } from '../operations/proof.ts'
import type { FoundEntry } from '../reader.ts'
import type { EvidenceDeps } from './deps.ts'
import { contentOf, encodeEvidence, type EvidencePack, isNoPolicy, MOST_ENTRIES, MOST_OPERATIONS, newPack } from './pack.ts'

/** The most bytes of entries and policies in a pack: it is made in memory. */
const MOST_BYTES = 8 * 1024 * 1024

const INDEX = z.int().min(0).max(Number.MAX_SAFE_INTEGER)
const INPUT = z
  .strictObject({
    operations: z
      .array(z.string().regex(UUID_PATTERN, 'not an operation id'))
      .min(1)
      .max(MOST_OPERATIONS)
      .optional()
      .meta({ description: 'All entries of these operations.', example: ['0198f2c1-7a40-7c3e-9d52-6a1f0b2c3d4e'] }),
    from: INDEX.optional().meta({ description: 'Or the entries of a range: the index to start at' }),
    to: INDEX.optional().meta({ description: 'and the one to end before.' }),
  })
  .refine(({ operations, from, to }) => (operations === undefined ? from !== undefined && to !== undefined : from === undefined && to === undefined), {
    message: 'either operations, or from and to',
  })

interface Target {
  readonly asked: EvidencePack['asked']
  readonly by: Caller
  readonly signed: Signed | undefined
  /** By index. */
  readonly entries: readonly FoundEntry[]
  /** Operations of which nothing is signed. */
  readonly strangers: readonly string[]
}
interface Made {
  readonly text: string
  readonly packSha256: string
}

/** `sign`: performs policies.audit.sign-evidence. */
export const makeEvidence = (deps: EvidenceDeps & { readonly sign: (pack: EvidencePack) => Promise<string> }) =>
  operation({
    name: 'policies.audit.evidence',
    summary:
      'Entries of the log in one signed file, with their proofs and the policies that decided, for whoever is to check them offline (docs/audit-export.md).',
    effect: 'transient',
    route: { method: 'POST', path: '/v1/policies/audit/evidence', produces: ['application/json'] },
    input: INPUT,
    output: z.custom<never>(() => false),
    locate: async ({ operations, from, to }, by): Promise<Target> => {
      const provable = await provableNow(deps.log)
      const size = provable.last?.checkpoint.size ?? 0
      if (operations === undefined) {
        const asked = { from: from ?? 0, to: to ?? 0 }
        // What was pruned is no entry that the service can show: the reader says so.
        const isThere = asked.from < asked.to && asked.to <= size && asked.to - asked.from <= MOST_ENTRIES
        const entries = isThere ? await readWithoutGaps(deps.log.reader, asked.from, asked.to - asked.from) : []
        return { asked, by, signed: signedOver(provable, entries), entries, strangers: [] }
      }
      const ids = [...new Set(operations)]
      const found = await findOperations(deps, ids, size)
      const there = new Set(found.map(({ entry }) => entry.id as string))
      return { asked: { operations: ids }, by, signed: signedOver(provable, found), entries: found, strangers: ids.filter((id) => !there.has(id)) }
    },
    uses: () => [],
    facts: ({ asked }) => ({ public: { ...asked } }),
    admit: ({ asked, signed, entries, strangers }) => {
      const size = signed?.checkpoint.size ?? 0
      if (strangers.length > 0)
        return new Problem(
          'not-found',
          `The signed log has no entry of ${strangers.join(', ')}. One that has just ended is there within a second or so; an old one may be in the archive of the log alone.`,
        )
      if (entries.length > MOST_ENTRIES) return tooMuch()
      return entries.length > 0
        ? undefined
        : new Problem(
            'conflict',
            `A range begins before it ends, has at most ${MOST_ENTRIES} entries, and ends by the signed ${size}: ${JSON.stringify(asked)}.`,
          )
    },
    execute: async (_permit, { asked, by, signed, entries }): Promise<Made> => {
      if (signed === undefined) throw new Problem('internal', 'A checkpoint that was found is gone.')
      const policies = await policiesOf(deps, entries)
      const bytes = entries.reduce((sum, entry) => sum + entry.bytes.length, 0) + policies.revisions.reduce((sum, { text }) => sum + utf8(text).length, 0)
      if (bytes > MOST_BYTES) throw tooMuch()
      const proven = await prove(deps.log.reader, signed, entries)
      const pack = newPack({
        ...{ madeAt: deps.now().toISOString(), requestedBy: callerUrn(by), asked },
        log: {
          origin: deps.log.key.name,
          keys: [...deps.log.replaced.map(({ key, lastSize }) => ({ key: key.vkey, lastSize })), { key: deps.log.key.vkey }],
          checkpoint: signed.note,
        },
        entries: proven.map(({ index, bytes: entry, proof }) => ({ index, entry: Buffer.from(fromBase64(entry)).toString('utf8'), proof })),
        policies,
      })
      return { text: encodeEvidence({ pack, signed: await deps.sign(pack) }), packSha256: contentOf(pack).packSha256 }
    },
    outcomeFacts: ({ entries, signed }, { packSha256 }) => ({ public: { entries: entries.length, size: signed?.checkpoint.size ?? 0, packSha256 } }),
    respond: ({ signed }, { text }): Download => ({
      contentType: 'application/json',
      fileName: `evidence-${signed?.checkpoint.size ?? 0}.json`,
      chunks: [utf8(text)],
    }),
  })

const tooMuch = (): Problem =>
  new Problem(
    'conflict',
    `A pack has at most ${MOST_ENTRIES} entries and ${MOST_BYTES / 1024 / 1024} MiB. Ask for fewer operations, or a shorter range; an export has everything.`,
  )

/** Below the checkpoint, by index; one more than a pack takes where there are too many. */
async function findOperations({ log }: EvidenceDeps, ids: readonly string[], size: number): Promise<FoundEntry[]> {
  const found: FoundEntry[] = []
  for (const operationId of ids) {
    if (found.length > MOST_ENTRIES) break
    found.push(...(await log.reader.search({ from: 0, limit: MOST_ENTRIES + 1, operationId })).filter(({ index }) => index < size))
  }
  return found.sort((a, b) => a.index - b.index)
}

/** The policies that the decisions name. */
async function policiesOf({ revisions }: EvidenceDeps, entries: readonly FoundEntry[]): Promise<EvidencePack['policies']> {
  const named = new Set(entries.flatMap(({ entry: { decision } }) => (decision === undefined || isNoPolicy(decision) ? [] : [decision.revision])))
  const found = await Promise.all([...named].sort().map(async (revision) => ({ revision, activation: await revisions.find(revision) })))
  return {
    key: base64(revisions.publicKey()),
    revisions: found.flatMap(({ revision, activation }) =>
      activation === undefined ? [] : [{ revision, number: activation.number, text: activation.text, signature: base64(activation.signature) }],
    ),
    absent: found.flatMap(({ revision, activation }) => (activation === undefined ? [revision] : [])),
  }
}
