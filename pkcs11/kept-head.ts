import type { Handle } from 'pkcs11js'
import { frame } from '../core/bytes.ts'
import type { LaneKeys } from './lane-keys.ts'
import { cryptokiError } from './errors.ts'
import { CKA, CKO } from './templates.ts'
import type { Token } from './token.ts'

/**
 * The audit log's last signed checkpoint, as a private data object: who sets the database and the host's files back does not set the token back. One for each origin
 * (CKA_APPLICATION). Not a secret, and nothing that a signature does not protect: who has the PIN may destroy it.
 */
const LABEL = 'gridseal:head'
const OBJECT_HANDLE_INVALID = 0x82

/**
 * Keeps a checkpoint, unless one over as many entries or more is there. The new object comes before the older ones go: a crash between leaves both, and the next
 * call takes the older ones away. SoftHSM syncs neither, so that a loss of power can take the newest.
 */
export function keepHead({ token }: LaneKeys, { origin, note }: { readonly origin: string; readonly note: Uint8Array }): void {
  token.writing((writing) => {
    const held = readAll(writing, origin).map(({ handle, note: one }) => ({ handle, size: sizeOf(one) }))
    if (held.every(({ size }) => size < sizeOf(note))) createHead(writing, origin, note)
    const most = Math.max(sizeOf(note), ...held.map(({ size }) => size))
    for (const { handle, size } of held) if (size < most) ifThere(() => writing.destroy(handle))
  })
}

/** Framed: each that is there. More than one is what a crash left. */
export const readHeads = ({ token }: LaneKeys, { origin }: { readonly origin: string }): Buffer =>
  Buffer.from(frame(readAll(token, origin).map(({ note }) => note)))

function readAll(token: Token, origin: string): { readonly handle: Handle; readonly note: Buffer }[] {
  return listHeads(token, origin).flatMap((handle) => {
    const note = ifThere(() => token.read(handle, CKA.VALUE))
    return note === undefined ? [] : [{ handle, note }]
  })
}

/** Undefined where another process has destroyed the object meanwhile. */
function ifThere<Result>(work: () => Result): Result | undefined {
  try {
    return work()
  } catch (error) {
    if (cryptokiError(error)?.code === OBJECT_HANDLE_INVALID) return undefined
    throw error
  }
}

export function createHead(token: Token, origin: string, note: Uint8Array, { inToken = true }: { readonly inToken?: boolean } = {}): Handle {
  return token.lib.C_CreateObject(token.handle, [
    ...headTemplate(origin),
    { type: CKA.TOKEN, value: inToken },
    { type: CKA.PRIVATE, value: true },
    { type: CKA.VALUE, value: Buffer.from(note) },
  ])
}

export const listHeads = (token: Token, origin: string): Handle[] => token.findAll(headTemplate(origin))

const headTemplate = (origin: string): { readonly type: number; readonly value: number | string }[] => [
  { type: CKA.CLASS, value: CKO.DATA },
  { type: CKA.LABEL, value: LABEL },
  { type: CKA.APPLICATION, value: origin },
]

/** The second line of a checkpoint. One that cannot be read is smaller than all. */
const sizeOf = (note: Uint8Array): number => Number(/^[^\n]*\n([0-9]{1,16})\n/.exec(Buffer.from(note).toString('utf8'))?.[1] ?? -1)
