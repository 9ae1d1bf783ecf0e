/** The named places at which a test may stop the process. The order of durable effects is written at each. */
export const FAULT_POINTS = [
  'gate.intent-committed', // intent and reservations stand; no key was used. Never passed by what uses no key
  'gate.executed', // the key was used; nothing of it is recorded; nobody has an answer
  'gate.outcome-written', // rows and outcome are in the transaction, not committed
  'gate.outcome-committed', // all stands; the caller has no answer
  'order.approved', // approved; no chunk begun
  'order.chunk-filled', // a chunk's cards are committed; the next is not begun
  'order.all-filled', // every card is keyed; the delivery is not sealed
  'order.sealed', // the delivery is sealed; nobody has fetched it
  'rotation.begun', // the new generation of a root key is current; no row is under it yet
  'rotation.page-renewed', // a page of rows is under it; the next is not begun
  'rotation.closing', // nothing is under the old one, and nobody uses it; it is still in the token
  'rotation.retired', // it is destroyed, and recorded so
  'prune.heads-written', // row heads of a prune of the log stand; nothing refers to them
  'prune.recorded', // the prune is recorded; the log has no event of it, and nothing is deleted
  'prune.logged', // the log has the event under a signed checkpoint; nothing is deleted
  'prune.entries-page', // a page or partition of entries is deleted; the next is not begun
  'prune.entries-deleted', // all entries are deleted; their groups stand
  'prune.groups-deleted', // their groups too; the index of searches still has them
] as const
export type FaultPoint = (typeof FAULT_POINTS)[number]

/** Called at each point; at those of the gate with the name of the operation that passes it. The service's own does nothing. */
export type Faults = (point: FaultPoint, operation?: string) => void
export const noFaults: Faults = () => undefined
