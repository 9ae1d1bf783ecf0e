import { initialiseToken } from './initialise-token.ts'
import { makeCardMaster } from './make-card-master.ts'
import { listRootKeys, makeRootKeys } from './make-root-keys.ts'
import { makeTransportKey } from './make-transport-key.ts'

/** Everything that a ceremony can be. */
export const CEREMONIES = { initialiseToken, listRootKeys, makeRootKeys, makeCardMaster, makeTransportKey } as const

export type CeremonyName = keyof typeof CEREMONIES
