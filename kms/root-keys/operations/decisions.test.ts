import { describe, expect, it } from 'vitest'
import { hex, sha256, utf8 } from '../../../core/bytes.ts'
import { keyId, newUuid } from '../../../core/ids.ts'
import { parseBackup } from '../../../pkcs11/ceremonies.ts'
import { encodeBackup, type TokenBackup } from '../../../pkcs11/index.ts'
import type { Caller } from '../../../policies/caller.ts'
import { type Gate, perform } from '../../../policies/gate.ts'
import type { AnyOperation } from '../../../policies/operation.ts'
import { memoryGate } from '../../../policies/testing/memory-gate.ts'
import type { CeremonyAuthorisation } from '../ceremony-authorisation.ts'
import { authoriseCeremony } from './authorise-ceremony.ts'
import { exportBackup } from './export-backup.ts'

const alice: Caller = { kind: 'officer', name: 'alice', id: newUuid() }
const billing: Caller = { kind: 'module', name: 'billing', id: newUuid() }
const NOW = new Date('2026-11-26T00:00:00Z')

type HeldRequest = Parameters<NonNullable<Gate['holds']>['park']>[0]

const common = { tokenSerial: 'a', kek: new Uint8Array(5).fill(1), wrapped: new Uint8Array(24).fill(2) }
const BACKUP: TokenBackup = {
  kek: { backup: { ...common, keyId: keyId('root:backup-kek'), algorithm: 'aes-256', recipient: new Uint8Array(32).fill(3) }, mac: new Uint8Array(16) },
  keys: [
    {
      backup: { ...common, keyId: keyId('root:row-mac'), algorithm: 'aes-256', kcv: { method: 'aes-kwp', value: new Uint8Array(5) } },
      mac: new Uint8Array(16),
    },
  ],
}

/** A gate with a desk on which everything that was parked is approved. */
function world(backup: TokenBackup | undefined = BACKUP) {
  const inserted: CeremonyAuthorisation[] = []
  const parked: HeldRequest[] = []
  const base = memoryGate()
  const gate: Gate = {
    ...base,
    holds: {
      park: (request) => Promise.resolve(void parked.push(request)),
      take: () => Promise.resolve(() => Promise.resolve({ public: { approvers: ['urn:gridseal:officer:bob'] } })),
    },
  }
  const exporting = exportBackup({
    backups: { load: () => Promise.resolve(backup), unsaved: () => Promise.resolve(['master:lost']) },
    now: () => NOW,
  })
  const authorising = authoriseCeremony({
    authorisations: { insert: (_tx, one) => Promise.resolve(void inserted.push(one)) },
    ...{ identity: { serial: 'a', keys: [] }, databaseNow: () => Promise.resolve(NOW), newId: () => newUuid() },
  })
  const ask = (op: AnyOperation, body: unknown, { caller = alice, run = false } = {}): Promise<unknown> =>
    perform(gate, op, { caller, body, ...(run ? { holdId: 'approved' } : {}) })
  return { exporting, authorising, ask, inserted, parked, entries: base.log.entries }
}

const decision = (given: object = {}) => ({ ceremony: 'adopt-token', token: 'b', reason: 'a test', hours: 2, ...given })

describe('a decision on a ceremony', () => {
  it('is held whatever the policy says, for another officer, and is nothing until it is run', async () => {
    const { authorising, ask, inserted, parked } = world()
    await expect(ask(authorising, decision())).rejects.toMatchObject({ code: 'held' })
    expect(parked).toMatchObject([{ operation: 'kms.root-key.authorise-ceremony', claim: { approvals: 1, of: ['officer:*'] } }])
    expect(inserted).toEqual([])
  })

  it('is for so many hours from the run, by the database’s clock, and both persons stand in the entry', async () => {
    const { authorising, ask, inserted, entries } = world()
    const answer = await ask(authorising, decision(), { run: true })
    const expiresAt = new Date('2026-11-26T02:00:00Z')
    expect(inserted).toMatchObject([{ ceremony: 'adopt-token', token: 'b', authorisedBy: 'urn:gridseal:officer:alice', authorisedAt: NOW, expiresAt }])
    expect(answer).toMatchObject({ authorisationId: inserted[0]?.id, expiresAt: expiresAt.toISOString() })
    const facts = { public: { authorisation: inserted[0]?.id, approvers: ['urn:gridseal:officer:bob'] } }
    expect(entries).toMatchObject([
      { kind: 'intent', caller: { name: 'alice' }, facts },
      { kind: 'outcome', code: 'ok', facts: { rows: [{ table: 'ceremony_authorisations' }] } },
    ])
  })

  it('on pruning the log names the first entry that is kept, for who approves it and in the row', async () => {
    const { authorising, ask, inserted, entries } = world()
    const prune = decision({ ceremony: 'prune-log', token: 'a', before: 512 })
    expect(await ask(authorising, prune, { run: true })).toMatchObject({ ceremony: 'prune-log', before: 512 })
    expect(inserted).toMatchObject([{ ceremony: 'prune-log', token: 'a', before: 512 }])
    expect(entries[0]).toMatchObject({ kind: 'intent', facts: { public: { ceremony: 'prune-log', before: 512 } } })
  })

  it.each<readonly [claim: string, given: object, code: string, caller: Caller]>([
    ['of a module', {}, 'forbidden', billing],
    ['to adopt the token in use', { token: 'a' }, 'conflict', alice],
    ['to replace the checkpoint key of another token', { ceremony: 'replace-checkpoint-key' }, 'conflict', alice],
    ['for longer than three days', { hours: 73 }, 'request-invalid', alice],
    ['to prune by a token that is not in use', { ceremony: 'prune-log', before: 256 }, 'conflict', alice],
    ['to prune before no entry that is named', { ceremony: 'prune-log', token: 'a' }, 'request-invalid', alice],
    ['to prune before an entry within a tile', { ceremony: 'prune-log', token: 'a', before: 300 }, 'request-invalid', alice],
    ['to prune nothing', { ceremony: 'prune-log', token: 'a', before: 0 }, 'request-invalid', alice],
    ['to adopt a token before an entry', { before: 256 }, 'request-invalid', alice],
    ['on what is no such ceremony', { ceremony: 'complete' }, 'request-invalid', alice],
    ['on a serial that hides something', { token: 'b\u202e' }, 'request-invalid', alice],
  ])('is refused %s, before anybody is asked to approve it', async (_claim, given, code, caller) => {
    const { authorising, ask, inserted, parked } = world()
    await expect(ask(authorising, decision(given), { caller })).rejects.toMatchObject({ code })
    expect([inserted, parked]).toEqual([[], []])
  })
})

describe('an export of the backup', () => {
  it('is held, and shows who approves it whose keys they are and for whom', async () => {
    const { exporting, ask, parked } = world()
    await expect(ask(exporting, { reason: 'a test' })).rejects.toMatchObject({ code: 'held' })
    const facts = { token: 'a', kek: '0101010101', recipient: '03'.repeat(32), keys: 1, missing: 1 }
    expect(parked).toMatchObject([{ claim: { approvals: 1, of: ['officer:*'] }, facts }])
  })

  it('answers the file, whose digest stands in the log, and what is missing from it', async () => {
    const { exporting, ask, entries } = world()
    const {
      backup,
      sha256: digest,
      missing,
    } = (await ask(exporting, { reason: 'a test' }, { run: true })) as Record<'backup' | 'sha256', string> & {
      missing: string[]
    }
    expect(encodeBackup(parseBackup(backup), NOW.toISOString())).toBe(encodeBackup(BACKUP, NOW.toISOString()))
    expect(digest).toBe(hex(sha256(utf8(backup))))
    expect(missing).toEqual(['master:lost'])
    expect(entries.at(-1)).toMatchObject({ kind: 'outcome', code: 'ok', facts: { public: { sha256: digest, keys: 1 } } })
  })

  it('is refused to others than officers, and where there is no backup', async () => {
    const some = world()
    await expect(some.ask(some.exporting, { reason: 'a test' }, { caller: billing })).rejects.toMatchObject({ code: 'forbidden' })
    const none = {
      ...world(),
      exporting: exportBackup({ backups: { load: () => Promise.resolve(undefined), unsaved: () => Promise.reject(new Error('of none')) }, now: () => NOW }),
    }
    await expect(none.ask(none.exporting, { reason: 'a test' })).rejects.toMatchObject({ code: 'not-found' })
  })
})
