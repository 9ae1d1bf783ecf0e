import { addRootKeys } from './add-root-keys.ts'
import { makeBackupRecipient } from './backup-recipient.ts'
import { checkRows, macRows, showToken } from './identify-token.ts'
import { initialiseToken } from './initialise-token.ts'
import { makeCardMaster } from './make-card-master.ts'
import { finishRootKeys, listRootKeys, makeRootKeys } from './make-root-keys.ts'
import { makeTransportKey } from './make-transport-key.ts'
import { destroyOldCheckpointKeys, makeNextCheckpointKey } from './replace-checkpoint-key.ts'
import { provePins } from './officer.ts'
import { restoreKeys } from './restore-keys.ts'
import { destroyGeneration, makeGeneration } from './rotate-root-key.ts'

/** Everything that a ceremony can be. */
export const CEREMONIES = {
  ...{ initialiseToken, listRootKeys, makeRootKeys, finishRootKeys, makeCardMaster, makeTransportKey },
  ...{ makeBackupRecipient, restoreKeys, makeNextCheckpointKey, destroyOldCheckpointKeys, showToken, macRows, checkRows },
  ...{ makeGeneration, destroyGeneration, addRootKeys, provePins },
} as const

export type CeremonyName = keyof typeof CEREMONIES
