import { z } from 'zod'
import { hex, sha256, utf8 } from '../../../core/bytes.ts'
import { UUID_PATTERN } from '../../../core/ids.ts'

/** Evidence packs: entries of the log with all that proves them, in one file that a person can read. docs/audit-export.md has it in words. Pure: the service makes it, and who relies on it reads it, by the same definitions. */

/** `typ` of what is signed (core/signed-document.ts), and the service certificate whose key signs it. */
export const EVIDENCE_TYPE = 'gridseal-evidence'
export const EVIDENCE_SERVICE = 'statement'
const FORMAT = 'gridseal-evidence-v1'

/** The most entries of a pack, and operations that are asked for. */
export const MOST_ENTRIES = 500
export const MOST_OPERATIONS = 50

const INDEX = z.int().min(0).max(Number.MAX_SAFE_INTEGER)
const REVISION = z.string().regex(/^[0-9a-f]{16}$/)
const BASE64 = z.base64()

const PACK = z.strictObject({
  format: z.literal(FORMAT),
  /** What this is and how it is checked, for a person. */
  instructions: z.array(z.string()),
  /** RFC 3339. */
  madeAt: z.iso.datetime(),
  /** URN. */
  requestedBy: z.string(),
  asked: z.union([z.strictObject({ operations: z.array(z.string().regex(UUID_PATTERN)) }), z.strictObject({ from: INDEX, to: INDEX })]),
  log: z.strictObject({
    origin: z.string(),
    /** Verifier keys in note form, the oldest first. `lastSize`: entries under the last checkpoint of one that was replaced. */
    keys: z.array(z.strictObject({ key: z.string(), lastSize: INDEX.optional() })).min(1),
    /** A signed note, as every proof has it. */
    checkpoint: z.string(),
  }),
  /** By index. `entry`: the exact text that is hashed, as UTF-8; `proof`: a C2SP tlog-proof. */
  entries: z
    .array(z.strictObject({ index: INDEX, entry: z.string(), proof: z.string() }))
    .min(1)
    .max(MOST_ENTRIES),
  /** The policies that the entries' decisions name, once each, and the key that signed that they were put to work (SPKI). */
  policies: z.strictObject({
    key: BASE64,
    revisions: z.array(z.strictObject({ revision: REVISION, number: z.int().min(1), text: z.string(), signature: BASE64 })),
    /** Named by entries from before policies were kept. */
    absent: z.array(z.string()),
  }),
})
export type EvidencePack = z.infer<typeof PACK>

const FILE = z.strictObject({ pack: PACK, signed: z.string() })
/** `signed`: a JWS over {@link SignedContent}. */
export type EvidenceFile = z.infer<typeof FILE>

/** What the token signs: which pack. */
const CONTENT = z.strictObject({
  format: z.literal(FORMAT),
  origin: z.string(),
  madeAt: z.string(),
  entries: z.int(),
  packSha256: z.string().regex(/^[0-9a-f]{64}$/),
})
export type SignedContent = z.infer<typeof CONTENT>

export const contentOf = (pack: EvidencePack): SignedContent => ({
  format: FORMAT,
  origin: pack.log.origin,
  madeAt: pack.madeAt,
  entries: pack.entries.length,
  packSha256: hex(sha256(utf8(JSON.stringify(pack)))),
})

export const parseContent = (content: unknown): SignedContent | undefined => CONTENT.safeParse(content).data

/** One pack has one text. */
export const encodeEvidence = (file: EvidenceFile): string => `${JSON.stringify(file, null, 2)}\n`

/** Undefined for a text that {@link encodeEvidence} did not make, byte for byte. */
export function parseEvidence(text: string): EvidenceFile | undefined {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return undefined
  }
  const file = FILE.safeParse(value).data
  return file !== undefined && encodeEvidence(file) === text ? file : undefined
}

/** Whether a decision's revision names no policy: deciding failed, which is a denial. */
export const isNoPolicy = ({ rule, revision }: { readonly rule: string; readonly revision: string }): boolean => rule === 'error' && revision === 'unknown'

export const newPack = (parts: Omit<EvidencePack, 'format' | 'instructions'>): EvidencePack => ({ format: FORMAT, instructions: INSTRUCTIONS, ...parts })

const INSTRUCTIONS: string[] = [
  'This file holds entries of the audit log of a Gridseal service, with what proves that they are in it. It can be checked without the service.',
  'You need two things that you did not get with this file: the public key of the log (a line: origin+id+base64), told at its key ceremony, and the root certificate of the service, from its officers.',
  'With the program: gridseal audit verify-evidence FILE --key KEY --trust ROOT.pem. Where the log has had several keys, give --key for each, in their order.',
  'By hand, for each of `entries`: the SHA-256 of a zero byte and the text `entry` (UTF-8) is the leaf; `proof` (C2SP tlog-proof) leads from it to the root in the checkpoint at its end (RFC 6962 2.1.1); a key of the log signed the checkpoint.',
  'Each entry that tells a decision names the policy by `decision.revision`: the first 16 hex digits of the SHA-256 of its text, which is among `policies.revisions`. Its rule is `decision.rule`. `signature` is by `policies.key` (ECDSA P-256, SHA-256) over the framed fields gridseal-policy-v1, number, SHA-256 of the text.',
  '`signed` is a JWS of the service: it says which pack the service made, and vouches for the policy key. `packSha256` is the SHA-256 of `pack` as JSON without white space.',
  'What it shows: these entries are in the log, unchanged, at these places. What it does not show: that the log has no other entries of the same operations. Only an export of the whole log shows that.',
  'Values of persons and cards are not here: an entry has salted commitments of them.',
]
