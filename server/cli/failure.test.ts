import { readFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { describe, expect, it } from 'vitest'
import { Problem } from '../../core/problem.ts'
import { CliError } from './cli-error.ts'
import { describeFailure } from './failure.ts'

const thrownBy = (work: () => unknown): unknown => {
  try {
    work()
  } catch (error) {
    return error
  }
  throw new Error('nothing was thrown')
}

describe('what a command that failed tells', () => {
  it.each([
    ['a file that is not there', thrownBy(() => readFileSync('/nowhere/nope.json')), '/nowhere/nope.json is not there.'],
    ['a folder in place of a file', thrownBy(() => readFileSync(tmpdir())), 'EISDIR: illegal operation on a directory, read'],
    ['what is thrown for who typed it', new CliError('Name it.'), 'Name it.'],
    ['a problem', new Problem('conflict', 'It is there.'), 'It is there.'],
    ['a problem and its cause', new Problem('database-unavailable', 'It is away.', { cause: new Error('refused') }), 'It is away. (refused)'],
    ['what is no error', 'odd', 'odd'],
  ])('of %s: one line', (_what, error, line) => {
    expect(describeFailure(error)).toBe(line)
  })

  it('of a connection that is refused: where to', async () => {
    const error = await new Promise((resolve) => connect(1, '127.0.0.1').once('error', resolve))
    expect(describeFailure(error)).toBe('connect ECONNREFUSED 127.0.0.1:1')
  })

  it('of a fault of the program: where it lies', () => {
    expect(describeFailure(new TypeError('x is not a function'))).toMatch(/^TypeError: x is not a function\n.*failure\.test/s)
  })
})
