import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { projectFile } from '../project-file.ts'
import { CliError } from './cli-error.ts'
import { checkPolicyFile, diffPolicyFiles, explainRequest, testPolicyFile } from './policy.ts'
import { fileURLToPath } from 'node:url'

const folder = mkdtempSync(join(tmpdir(), 'gridseal-policy-'))
afterAll(() => rmSync(folder, { recursive: true }))

const shipped = fileURLToPath(projectFile('examples/policy.yaml'))
const AT = '2026-11-26T12:00:00Z'
const RULES = `      - { id: a, verdict: allow, reason: r, callers: ['module:*'], operations: [kms.key.sign], where: { owner: $caller } }
      - { id: b, verdict: allow, reason: r, callers: ['module:billing'], operations: [kms.key.list] }`
const TESTS = `tests:
  - { name: own, ask: { caller: 'module:billing', address: 10.0.0.1, operation: kms.key.sign, facts: { owner: $caller } }, expect: { verdict: allow, rule: a } }`
function file(name: string, rules = RULES, tests = TESTS): string {
  const path = join(folder, name)
  writeFileSync(path, `policy: 2\nowner: me\nzones: { all: { others: true } }\nchains:\n  - name: all\n    zones: [all]\n    rules:\n${rules}\n${tests}\n`)
  return path
}

let said: string[] = []
beforeEach(() => {
  said = []
  vi.spyOn(console, 'log').mockImplementation((line: string) => void said.push(line))
})
afterEach(() => {
  vi.restoreAllMocks()
  process.exitCode = undefined
})

/** What was said, and the exit code. */
function told(work: () => void): { readonly text: string; readonly code: number } {
  work()
  const code = Number(process.exitCode ?? 0)
  process.exitCode = undefined
  return { text: said.splice(0).join('\n'), code }
}
const json = (work: () => void): { readonly value: Record<string, unknown>; readonly code: number } => {
  const { text, code } = told(work)
  return { value: JSON.parse(text) as Record<string, unknown>, code }
}

describe('gridseal policy check', () => {
  it('finds nothing in the shipped policy', () => {
    expect(told(() => checkPolicyFile({ file: shipped, at: AT }))).toMatchObject({
      code: 0,
      text: expect.stringContaining('nothing is wrong with it') as string,
    })
  })

  it('finds a rule of no use, and a failed test; exit code 1', () => {
    const dead = `${RULES}\n      - { id: c, verdict: deny, reason: r, callers: ['module:x'], operations: [kms.key.sign], where: { owner: $caller } }`
    expect(told(() => checkPolicyFile({ file: file('dead.yaml', dead), at: AT }))).toMatchObject({
      code: 1,
      text: expect.stringMatching(/rule c: shadowed\. a take all/) as string,
    })
    const failing = TESTS.replace('verdict: allow', 'verdict: deny')
    expect(told(() => checkPolicyFile({ file: file('failing.yaml', RULES, failing), at: AT }))).toMatchObject({
      code: 1,
      text: expect.stringContaining('test "own": found allow by a, expected deny by a') as string,
    })
  })

  it('tells of rules whose order matters as a note; exit code 0', () => {
    const rules = `      - { id: x, verdict: deny, reason: r, log: full, callers: ['module:guest'], operations: ['*'] }\n${RULES}`
    expect(told(() => checkPolicyFile({ file: file('notes.yaml', rules), at: AT }))).toMatchObject({
      code: 0,
      text: expect.stringContaining('note: rule a: correlated') as string,
    })
  })

  it.each([
    ['a file that is not there', () => join(folder, 'none.yaml'), /ENOENT/],
    [
      'a file that is no policy',
      () => file('broken.yaml', RULES.replace('allow', 'permit')),
      /line 8, column 27: .*found "permit", expected one of allow, deny, hold/,
    ],
  ])('%s: exit code 2', (_what, path, message) => {
    try {
      checkPolicyFile({ file: path() })
      expect.unreachable()
    } catch (error) {
      expect(error).toBeInstanceOf(CliError)
      expect(error).toMatchObject({ exitCode: 2, message: expect.stringMatching(message) as string })
    }
  })
})

it('gridseal policy test: exit code 1 where one fails', () => {
  expect(told(() => testPolicyFile({ file: shipped, at: AT }))).toMatchObject({ code: 0, text: expect.stringMatching(/(\d+) of \1 tests pass/) as string })
  const failing = file('test.yaml', RULES, TESTS.replace('rule: a', 'rule: b'))
  expect(json(() => testPolicyFile({ file: failing, at: AT, json: true }))).toMatchObject({ code: 1, value: { tests: 1, failed: [{ name: 'own', line: 11 }] } })
})

describe('gridseal policy diff', () => {
  it('tells nothing of new names; exit code 0', () => {
    const renamed = file('renamed.yaml', RULES.replace('id: a', 'id: new'), '')
    expect(told(() => diffPolicyFiles({ before: file('one.yaml'), after: renamed, at: AT }))).toEqual({ code: 0, text: 'Every request is decided the same.' })
  })

  it('tells what is allowed from now on, with a request that `explain` takes; exit code 1', () => {
    const wider = file('wider.yaml', RULES.replace(', where: { owner: $caller }', ''))
    const { text, code } = told(() => diffPolicyFiles({ before: file('one.yaml'), after: wider, at: AT }))
    expect(code).toBe(1)
    expect(text).toMatch(
      /^newly-allowed: deny by default -> allow by a\n.*such as: --caller module:billing --operation kms\.key\.sign --address 0\.0\.0\.0 --at 2026-11-26T12:00:00\.000Z$/s,
    )
    const example = { caller: 'module:billing', operation: 'kms.key.sign', address: '0.0.0.0', fact: [], at: AT }
    expect(told(() => explainRequest({ file: wider, ...example })).text).toMatch(/^allow by a/)
    expect(told(() => explainRequest({ file: file('one.yaml'), ...example })).text).toMatch(/^deny by default/)
    expect(json(() => diffPolicyFiles({ before: file('one.yaml'), after: wider, at: AT, json: true })).value).toMatchObject({
      regions: [{ change: 'newly-allowed', example: { at: AT.replace('Z', '.000Z') } }],
      undecided: [],
    })
  })
})

describe('gridseal policy explain', () => {
  const ask = { caller: 'module:billing', operation: 'kms.key.sign', address: '127.0.0.1', at: AT }

  it('says the verdict, the rule, and what stopped others', () => {
    expect(json(() => explainRequest({ file: shipped, ...ask, fact: ['owner=$caller'], usesKey: true, json: true }))).toMatchObject({
      code: 0,
      value: { effect: 'allow', rule: 'modules-use-own-keys', zones: ['local'], chain: 'local' },
    })
    expect(told(() => explainRequest({ file: shipped, ...ask, fact: ['owner=x'] })).text).toContain(
      'modules-use-own-keys (allow): where.owner: found owner "x", wanted the caller’s own',
    )
  })

  it('reads numbers and truth values as such, and text in quotes', () => {
    const rules = `      - { id: n, verdict: allow, reason: r, callers: ['module:*'], operations: ['*'], where: { n: 5, t: true, s: '5' } }`
    const numbers = file('numbers.yaml', rules, '')
    expect(told(() => explainRequest({ file: numbers, ...ask, fact: ['n=5', 't=true', 's="5"'] })).text).toMatch(/^allow by n/)
    expect(told(() => explainRequest({ file: numbers, ...ask, fact: ['n=5', 't=true', 's=5'] })).text).toMatch(/^deny by default/)
  })

  it.each([
    ['a caller of no kind', { caller: 'root:x' }, /caller: expected a caller/],
    ['an operation that is none', { operation: 'kms.key.sing' }, /no operation is named kms\.key\.sing/],
    ['an address that is none', { address: '10.0.0' }, /not an address/],
    ['a time that is none', { at: 'now' }, /at: expected a time/],
    ['a fact without a value', { fact: ['owner'] }, /--fact: found "owner", expected name=value/],
  ])('%s: exit code 2', (_what, parts, message) => {
    try {
      explainRequest({ file: shipped, ...ask, fact: [], ...parts })
      expect.unreachable()
    } catch (error) {
      expect(error).toMatchObject({ exitCode: 2, message: expect.stringMatching(message) as string })
    }
  })
})
