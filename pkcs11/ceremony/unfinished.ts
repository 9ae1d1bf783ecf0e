import type { Handle } from 'pkcs11js'
import { BACKUP_RECIPIENT } from '../root-keys.ts'
import { CKA, CKO } from '../templates.ts'
import type { Token } from '../token.ts'
import type { CeremonyToken } from './officer.ts'
import { syncFolder } from './sync-folder.ts'

/**
 * A mark in the token (a private data object): a ceremony that makes more than one key is under way, and what it has made so far was told to nobody.
 * It is the first that the ceremony writes and the last that it removes. While it stands the token is not used, and the same ceremony starts over.
 */
const LABEL = 'gridseal:unfinished'

export const isUnfinished = (token: Token): boolean => token.find(CKO.DATA, LABEL) !== undefined

/** Synced, so that no key is on disk without it. */
export function markUnfinished(token: Token, { tokensFolder }: CeremonyToken): void {
  if (isUnfinished(token)) return
  const flags = [
    { type: CKA.TOKEN, value: true },
    { type: CKA.PRIVATE, value: true },
  ]
  token.lib.C_CreateObject(token.handle, [{ type: CKA.CLASS, value: CKO.DATA }, { type: CKA.LABEL, value: LABEL }, ...flags])
  if (tokensFolder !== undefined) syncFolder(tokensFolder)
}

export function markFinished(token: Token, { tokensFolder }: CeremonyToken): void {
  const mark = token.find(CKO.DATA, LABEL)
  if (mark !== undefined) token.destroy(mark)
  if (tokensFolder !== undefined) syncFolder(tokensFolder)
}

/** Our keys in a token, but for a backup recipient's pair. */
const isOurs = (label: string): boolean => /^(root|transport|master):/.test(label) && label !== BACKUP_RECIPIENT

export const labelsOf = (token: Token): string[] =>
  [...new Set([CKO.PUBLIC, CKO.PRIVATE, CKO.SECRET].flatMap((objectClass) => token.listLabels(objectClass)))].filter(isOurs).sort()

/** What an unfinished ceremony left. INVARIANT: only while the mark stands. */
export function destroyKeys(token: Token): void {
  for (const objectClass of [CKO.PUBLIC, CKO.PRIVATE, CKO.SECRET]) {
    for (const label of token.listLabels(objectClass).filter(isOurs)) token.destroy(token.find(objectClass, label) as Handle)
  }
}
