import { Problem } from '../../core/problem.ts'
import type { Challenge } from '../challenge.ts'

/** Why this caller may not answer the challenge. Another's is not there for it. Whether it is open and in its time is decided when it is spent. */
export const challengeFault = (challenge: Challenge | undefined, caller: string): Problem | undefined =>
  challenge?.caller === caller ? undefined : new Problem('not-found', 'There is no challenge of that id here. Ask for a new one.')
