import { PROBLEMS } from '../../core/problem.ts'
import type { Entry } from './entry.ts'

/** How grave it is what an entry tells: one scale for all formats that have one. Pure. */
export type Weight = 'informational' | 'low' | 'medium' | 'high' | 'critical'

/** Codes that say that somebody tried what they must not, or that nobody knows how it ended. */
const MEDIUM: ReadonlySet<string> = new Set(['login-failed', 'ticket-invalid', 'cross-site', 'abandoned'])

/** Failures of the service are graver than refusals; a record that is not what the service wrote is the gravest. A code of a later version counts as `medium`. */
export function weightOf({ kind, code }: Pick<Entry, 'kind' | 'code'>): Weight {
  if (code === undefined) return kind === 'event' ? 'low' : 'informational'
  if (code === 'ok' || code === 'held') return 'informational'
  if (code === 'integrity-failed') return 'critical'
  if (MEDIUM.has(code) || !Object.hasOwn(PROBLEMS, code)) return 'medium'
  return PROBLEMS[code as keyof typeof PROBLEMS].status >= 500 ? 'high' : 'low'
}
