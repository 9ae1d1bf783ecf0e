import { newOperationId, type OperationId } from '../../../core/ids.ts'
import { systemCaller } from '../../caller.ts'
import type { EntryDraft, EntryKind } from '../log.ts'

/** A plain draft for tests. */
export const draftOf = (kind: EntryKind, id: OperationId = newOperationId(), more: Partial<EntryDraft> = {}): EntryDraft => ({
  kind,
  id,
  operation: 'test.thing.do',
  caller: systemCaller('test'),
  ...(kind === 'outcome' || kind === 'refusal' ? { code: 'ok' } : {}),
  ...more,
})
