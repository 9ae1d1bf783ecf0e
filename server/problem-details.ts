import type { OperationId } from '../core/ids.ts'
import { PROBLEMS, type Problem } from '../core/problem.ts'

/** RFC 9457. The one place that writes the body of a failure. */
export const problemBody = (problem: Problem, id: OperationId): string =>
  JSON.stringify({
    type: `/problems/${problem.code}`,
    title: PROBLEMS[problem.code].title,
    status: problem.status,
    detail: problem.detail,
    instance: `urn:uuid:${id}`,
    ...(problem.faults.length > 0 ? { faults: problem.faults } : {}),
  })

export const PROBLEM_JSON = 'application/problem+json'
