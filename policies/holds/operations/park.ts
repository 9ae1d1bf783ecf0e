import { z } from 'zod'
import { base64url, frame, utf8 } from '../../../core/bytes.ts'
import { Problem } from '../../../core/problem.ts'
import { digestRow } from '../../../core/row.ts'
import { callerUrn } from '../../caller.ts'
import { type Operation, operation } from '../../operation.ts'
import type { NewHold } from '../desk.ts'
import { canonicalJson } from '../hold.ts'
import { holdKey, type ParkedInput } from '../hold-store.ts'
import type { BoundPart, Deps } from './deps.ts'

/** The most bytes of an input, as JSON. */
const MOST_BYTES = 1024 * 1024
const PART_BYTES = 60 * 1024

/**
 * Order of durable effects: the intent; a key of its own for the input, which nothing holds yet; hold, encrypted input and key with the outcome. A crash before that
 * leaves nothing of the request, and who asked got no answer.
 */
export const parkRequest = ({ holds, parking }: Deps): Operation<NewHold, NewHold, ParkedInput, object> =>
  operation({
    name: 'policies.hold.park',
    summary: 'Keeps the input of a request that the policy holds, encrypted, until others have approved it.',
    effect: 'durable',
    input: z.custom<NewHold>((value) => typeof value === 'object' && value !== null && 'hold' in value),
    output: z.strictObject({}),
    locate: (held) => Promise.resolve(held),
    uses: ({ hold }) => [
      { action: 'generate', keyId: holdKey(hold.id) },
      { action: 'encrypt', keyId: holdKey(hold.id) },
    ],
    facts: ({ hold }) => ({
      public: {
        ...{ hold: hold.id, held: hold.operation, requester: callerUrn(hold.requester), inputDigest: base64url(hold.digest), heldBy: hold.rule },
        ...{ approvals: hold.approvals, approvers: hold.of, deadline: hold.deadline.toISOString() },
      },
    }),
    admit: ({ body }) =>
      utf8(canonicalJson(body)).length > MOST_BYTES
        ? new Problem('body-too-large', 'The policy holds this request, and what is held has at most 1 MiB. Ask for less at once.')
        : undefined,
    execute: (permit, { hold, body }) => parking.seal(permit, holdKey(hold.id), partsOf(hold.id, body)),
    record: async (tx, { hold }, input) => ({ facts: { rows: (await holds.insert(tx, hold, input)).map(digestRow) } }),
    respond: () => ({}),
  })

function partsOf(id: string, body: unknown): BoundPart[] {
  const bytes = utf8(canonicalJson(body))
  const count = Math.max(1, Math.ceil(bytes.length / PART_BYTES))
  return bindings(id, count).map((aad, at) => ({ plaintext: bytes.subarray(at * PART_BYTES, (at + 1) * PART_BYTES), aad }))
}

/** What binds each part to its hold, its place and the number of parts. */
export const bindings = (id: string, count: number): Uint8Array[] =>
  Array.from({ length: count }, (_, at) => frame(['gridseal-hold-v1', id, String(at), String(count)]))
