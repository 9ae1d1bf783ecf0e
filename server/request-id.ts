import type { IncomingMessage } from 'node:http'
import { newOperationId, type OperationId } from '../core/ids.ts'

const ids = new WeakMap<IncomingMessage, OperationId>()

/** The id of a request: of its operation, of its audit entries, and of the problem it may get. */
export function requestId(request: IncomingMessage): OperationId {
  const known = ids.get(request)
  if (known !== undefined) return known
  const id = newOperationId()
  ids.set(request, id)
  return id
}
