import { createPublicKey, verify as verifySignature } from 'node:crypto'
import { fromBase64, utf8 } from '../core/bytes.ts'
import { type Checkpoint, type LogKey, NoteError, openSuccession, parseLogKey, type ReplacedKey } from '../policies/audit/checkpoint.ts'
import { type Entry, EntryError, parseEntry } from '../policies/audit/entry.ts'
import { contentOf, EVIDENCE_SERVICE, EVIDENCE_TYPE, type EvidencePack, isNoPolicy, parseContent, parseEvidence } from '../policies/audit/evidence/pack.ts'
import { leafHash, verifyInclusion } from '../policies/audit/merkle.ts'
import { parseProof, ProofFileError } from '../policies/audit/proof-file.ts'
import { activationMessage, revisionOf } from '../policies/revisions/activation.ts'
import { printableLines } from './printable.ts'
import { openSignedDocument, Refusal } from './signed-document.ts'

export interface EvidenceTrust {
  /** The log's keys in note form, in the order in which they signed; got by another way than the pack. */
  readonly keys: readonly string[]
  /** The service's root certificate, PEM or DER; got by another way too. */
  readonly trustedRoot: string | Uint8Array
  /** For which time the certificates must be valid. */
  readonly at: Date
}

/** What a pack shows, once all of it is right. */
export interface Evidence {
  readonly pack: EvidencePack
  /** Entries under the checkpoint. */
  readonly size: number
  readonly entries: readonly { readonly index: number; readonly entry: Entry }[]
}

/** A text is longer than any pack that the service makes. */
const MOST_LENGTH = 64 * 1024 * 1024

/**
 * Verifies an evidence pack offline: the service signed exactly this pack; each entry is in the log that the keys signed; the policies are those that the decisions
 * name, and were put to work; what was asked for is there. Throws a {@link Refusal} that says what is wrong, and a NoteError when a given key will not do.
 */
export function openEvidence(text: string, { keys, trustedRoot, at }: EvidenceTrust): Evidence {
  const given = keys.map(parseLogKey)
  const file = text.length > MOST_LENGTH ? undefined : parseEvidence(text)
  if (file === undefined) throw new Refusal('this is no evidence pack of this format, byte for byte')
  const { pack, signed } = file
  const content = parseContent(openSignedDocument(signed, { what: 'evidence pack', type: EVIDENCE_TYPE, service: EVIDENCE_SERVICE, trustedRoot, at }))
  if (JSON.stringify(content) !== JSON.stringify(contentOf(pack))) throw new Refusal('the service signed another pack than this one')
  try {
    const checkpoint = openLogNote(pack, given)
    const entries = pack.entries.map((one) => openEntry(one, pack, checkpoint))
    assertAsked(pack, entries)
    assertPolicies(pack, entries)
    return { pack, size: checkpoint.size, entries }
  } catch (error) {
    if (error instanceof NoteError || error instanceof ProofFileError || error instanceof EntryError) throw new Refusal(error.message)
    throw error
  }
}

/** The given keys, with what the pack tells of those that were replaced. */
function succession({ log }: EvidencePack, given: readonly LogKey[]): { readonly key: LogKey; readonly replaced: readonly ReplacedKey[] } {
  const known = given.map((key) => {
    const told = log.keys.find((one) => one.key === key.vkey)
    if (told === undefined) throw new Refusal(`the pack is of a log that never had the key ${key.name}+${key.id}`)
    return { key, lastSize: told.lastSize }
  })
  const replaced = known.flatMap(({ key, lastSize }) => (lastSize === undefined ? [] : [{ key, lastSize }]))
  const newest = known.at(-1)?.key
  if (newest === undefined) throw new Refusal('no key of the log is given')
  return { key: newest, replaced }
}

function openLogNote(pack: EvidencePack, given: readonly LogKey[]): Checkpoint {
  const { key, replaced } = succession(pack, given)
  const checkpoint = openSuccession(pack.log.checkpoint, key, replaced)
  if (checkpoint.origin !== pack.log.origin) throw new Refusal('the checkpoint is of another log than the pack')
  return checkpoint
}

function openEntry({ index, entry, proof }: EvidencePack['entries'][number], pack: EvidencePack, { size, root }: Checkpoint): Evidence['entries'][number] {
  const proven = parseProof(proof)
  if (proven.index !== index) throw new Refusal(`the proof of entry ${index} is of another index`)
  if (proven.note !== pack.log.checkpoint) throw new Refusal(`the proof of entry ${index} leads to another checkpoint than the pack’s`)
  const bytes = utf8(entry)
  if (!verifyInclusion({ index, size, leaf: leafHash(bytes), proof: proven.hashes, root })) throw new Refusal(`entry ${index} is not in the log at this place`)
  return { index, entry: parseEntry(bytes) }
}

/** In the order of the log, each once; a range without gaps; of operations nothing else, and something of each. */
function assertAsked({ asked }: EvidencePack, entries: Evidence['entries']): void {
  entries.forEach(({ index }, at) => {
    if (at > 0 && index <= (entries[at - 1]?.index ?? index)) throw new Refusal('the entries are not in the order of the log')
  })
  if ('from' in asked) {
    if (entries.length !== asked.to - asked.from || entries[0]?.index !== asked.from || entries.at(-1)?.index !== asked.to - 1)
      throw new Refusal('entries of the range that was asked for are missing')
    return
  }
  const wanted = new Set(asked.operations)
  const there = new Set<string>(entries.map(({ entry }) => entry.id))
  if (wanted.size !== there.size || [...wanted].some((id) => !there.has(id)))
    throw new Refusal('the entries are not those of the operations that were asked for')
}

/** Every policy that a decision names, and no other. */
function assertPolicies({ policies }: EvidencePack, entries: Evidence['entries']): void {
  const named = new Set(entries.flatMap(({ entry: { decision } }) => (decision === undefined || isNoPolicy(decision) ? [] : [decision.revision])))
  const told = [...policies.revisions.map(({ revision }) => revision), ...policies.absent]
  const missing = [...named].find((revision) => !told.includes(revision))
  if (missing !== undefined) throw new Refusal(`the policy ${missing}, by which an entry was decided, is missing`)
  if (told.length !== named.size || new Set(told).size !== told.length) throw new Refusal('the pack has policies that no entry names, or one twice')
  const key = policyKey(policies.key)
  for (const { revision, number, text, signature } of policies.revisions) {
    if (revisionOf(text) !== revision) throw new Refusal(`the text of the policy ${revision} is another one`)
    if (!verifySignature('sha256', activationMessage({ number, text }), { key, dsaEncoding: 'ieee-p1363' }, fromBase64(signature)))
      throw new Refusal(`the policy key did not sign that the policy ${revision} was put to work`)
  }
}

function policyKey(spki: string): ReturnType<typeof createPublicKey> {
  try {
    return createPublicKey({ key: Buffer.from(spki, 'base64'), format: 'der', type: 'spki' })
  } catch {
    throw new Refusal('the policy key cannot be read')
  }
}

/** What a pack shows, for a person to read. */
export function describeEvidence({ pack, size, entries }: Evidence): string {
  const { log, madeAt, requestedBy, policies } = pack
  return printableLines([
    `VERIFIED: ${entries.length} entries of ${log.origin}, under the signed checkpoint over ${size}; the pack was made at ${madeAt} for ${requestedBy}`,
    ...entries.map(({ index, entry: { kind, operation, code, caller, time, decision } }) => {
      const by = decision === undefined ? '' : `, decided by ${decision.rule} of ${decision.revision}`
      return `  ${index}: ${time} ${kind} of ${operation}${code === undefined ? '' : ` (${code})`} by ${caller.kind} ${caller.name}${by}`
    }),
    ...policies.revisions.map(({ revision, number }) => `  policy ${revision}: its text is in the pack, signed as activation ${number}`),
    ...policies.absent.map((revision) => `  policy ${revision}: the service does not have its text, which is from before policies were kept`),
    'That these operations have no other entries, only an export of the whole log shows.',
  ])
}
