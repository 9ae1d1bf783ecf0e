import { Problem } from './problem.ts'

/** What an operation's `admit` has seen to be there. */
export function found<Thing>(thing: Thing | undefined): Thing {
  if (thing === undefined) throw new Problem('internal', 'The service failed. Ask the operator about this operation id.')
  return thing
}
