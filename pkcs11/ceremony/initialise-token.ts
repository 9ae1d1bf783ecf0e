import { randomBytes } from 'node:crypto'
import { mkdirSync, readdirSync } from 'node:fs'
import { dirname } from 'node:path'
import graphene from 'graphene-pk11'
import { createDurably } from '../../core/durable-file.ts'
import { Pin } from '../pin.ts'
import { findSlot, openModule } from '../slots.ts'
import { syncFolder } from './sync-folder.ts'

export interface InitialiseToken {
  readonly modulePath: string
  readonly label: string
  readonly tokensFolder: string
  readonly pinFile: string
  readonly officerPinFile: string
}

/**
 * Initialises SoftHSM2's token in a folder that is empty and ours. Order: both PINs are on disk, synced, before C_InitToken; the user's PIN is set;
 * the folder is synced. A crash anywhere leaves a folder whose state file still says `initialising`, which is started over.
 */
export function initialiseToken({ modulePath, label, tokensFolder, pinFile, officerPinFile }: InitialiseToken): { readonly serial: string } {
  if (readdirSync(tokensFolder).length > 0) throw new Error('the folder of tokens is not empty')
  mkdirSync(dirname(pinFile), { recursive: true, mode: 0o700 })
  for (const file of [pinFile, officerPinFile]) createDurably(file, `${randomBytes(24).toString('base64url')}\n`)

  const module = openModule({ modulePath })
  if (findSlot(module, {}) !== undefined) throw new Error('the module shows a token that is not in the folder: it does not read our configuration')
  const slot = module.getSlots(0, true)
  slot.lib.C_InitToken(slot.handle, new Pin(officerPinFile).read(), label.padEnd(32)) // shorter labels are over-read
  if (readdirSync(tokensFolder).length !== 1) throw new Error('the module made its token elsewhere')

  const made = findSlot(module, { token: label })
  if (made === undefined) throw new Error('the new token is not to be seen')
  const session = made.open(graphene.SessionFlag.SERIAL_SESSION | graphene.SessionFlag.RW_SESSION)
  session.login(new Pin(officerPinFile).read(), graphene.UserType.SO)
  session.initPin(new Pin(pinFile).read())
  session.logout()
  session.close()
  syncFolder(tokensFolder)
  return { serial: made.getToken().serialNumber.trimEnd() }
}
