import { readFileSync, writeFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { parsePolicy } from './parse.ts'
import { PolicyError } from './policy-error.ts'
import { POLICY } from './schema.ts'
import { OPERATIONS, policyText } from './testing/arbitrary.ts'

/** A policy of one rule, or what else is put there. */
const withRule = (rule: string, more = ''): string => `policy: 2
owner: me
zones: { all: { others: true } }
sets: { mixed: ['module:a', 'not one'] }
chains:
  - name: all
    zones: [all]
    rules:
      - ${rule}
${more}`
const RULE = "{ id: a, verdict: allow, reason: r, callers: ['module:*'], operations: ['*'] }"
const ruleWith = (more: string): string => withRule(RULE.replace(' }', `, ${more} }`))

function faultsOf(text: string): string[] {
  try {
    parsePolicy(text, OPERATIONS)
    return []
  } catch (error) {
    if (!(error instanceof PolicyError)) throw error
    return error.message
      .split('\n')
      .slice(1)
      .map((line) => line.trim())
  }
}

describe('a policy with a mistake is refused, with line, column, what was found and what was expected', () => {
  it('and one without is taken', () => {
    expect(faultsOf(withRule(RULE))).toEqual([])
  })

  it.each([
    ['nothing', '', /^line 1, column 1: the document: found nothing, expected a map$/],
    ['version 1', 'policy: 1\nrules: []', /^line 1, column 9: policy: found 1, expected 2\. .*"From version 1"/],
    ['no version', 'chains: []', /^line 1, column 1: policy: found nothing, expected 2/],
    ['an unknown field', withRule(RULE, 'rules: []'), /^line 10, column 1: rules: found a field that is not known here$/],
    ['an unknown field of a rule', ruleWith('effect: deny'), /^line 9, column 87: chains\.0\.rules\.0\.effect \(rule a\): found a field/],
    [
      'a verdict that is none',
      withRule(RULE.replace('allow', 'permit')),
      /^line 9, column 27: chains\.0\.rules\.0\.verdict \(rule a\): found "permit", expected one of allow, deny, hold$/,
    ],
    ['no reason', withRule(RULE.replace(' reason: r,', '')), /^line 9, column 9: .*reason \(rule a\): found nothing, expected text$/],
    ['no owner anywhere', withRule(RULE).replace('owner: me\n', ''), /found no owner, expected one here or for the whole document/],
    [
      'a caller of no kind',
      withRule(RULE.replace('module:*', 'root:*')),
      /found "root:\*", expected a caller: kind:name or kind:\*, or \$ and the name of a set/,
    ],
    ['nobody allowed', withRule(RULE.replace(" callers: ['module:*'],", '')), /found neither callers nor roles/],
    ['a zone that is not defined', ruleWith('zones: [x]'), /no zone is named x; expected one of all/],
    ['a level that no zone has', ruleWith('levels: [extranet]'), /no zone has the level extranet/],
    ['an operation that does not exist', withRule(RULE.replace("'*'", 'kms.key.sing')), /no operation is named kms\.key\.sing/],
    ['a pattern that covers none', withRule(RULE.replace("'*'", "'kmz.*'")), /no operation is named kmz\.\*/],
    ['a set that is not defined', ruleWith('vendors: [$x]'), /found \$x, expected the name of one of the sets: mixed/],
    [
      'a set of the wrong kind',
      ruleWith('vendors: [$mixed]'),
      /line 4, column 17: sets\.mixed\.0: found "module:a", expected the caller name of a vendor, as a list of vendors names this set/,
    ],
    ['two rules of one id', withRule(`${RULE}\n      - ${RULE}`), /^line 10, column 15: .*there is a rule named a already/],
    ['two chains of one name', withRule(RULE, '  - { name: all, zones: [all], rules: [] }'), /there is a chain named all already/],
    ['an id of the engine', withRule(RULE.replace('id: a', 'id: default')), /found default, which the engine itself answers with/],
    ['a chain that nobody enters', withRule(RULE).replace('    zones: [all]\n', ''), /found neither zones nor levels, expected who enters the chain/],
    [
      'the service in another chain',
      withRule(RULE.replace('module:*', 'system:fill')),
      /found system:fill: callers system:\.\.\. enter the chain system alone/,
    ],
    [
      'somebody in the chain system',
      withRule(RULE).replace('name: all\n    zones: [all]', 'name: system'),
      /found module:\*: no caller but system:\.\.\. enters the chain system/,
    ],
    ['a guard that allows', `${withRule(RULE)}guard: [${RULE}]`, /found "allow", expected deny: the guard only denies/],
    ['octal address', withRule(RULE).replace('others: true', 'networks: [010.0.0.0/8]'), /found "010\.0\.0\.0\/8", expected a network/],
    ['a prefix too long', withRule(RULE).replace('others: true', 'networks: [10.0.0.0/33]'), /expected a network/],
    ['bits behind the prefix', withRule(RULE).replace('others: true', 'networks: [10.0.0.1/8]'), /no bits behind the prefix/],
    ['IPv4 written as IPv6', withRule(RULE).replace('others: true', "networks: ['::ffff:10.0.0.0/104']"), /expected a network/],
    ['a zone of nothing', withRule(RULE).replace('{ others: true }', '{ level: internet }'), /found both or none of networks and others/],
    ['others twice', withRule(RULE).replace('{ others: true }', '{ others: true }, b: { others: true }'), /the zone all has all others already/],
    ['a duration without a unit', ruleWith('rate: { per: caller, count: 1, every: 5 }'), /found 5, expected text/],
    ['a rate of none', ruleWith('rate: { per: caller, count: 0, every: 1s }'), /found 0, expected a whole number from 1/],
    ['a rate of what is denied', ruleWith('rate: { per: caller, count: 1, every: 1s }').replace('allow', 'deny'), /found a rate at a rule that denies/],
    ['a quota of nothing', ruleWith('quota: { per: rule, period: day, timeZone: UTC }'), /found both or none of count and sum/],
    ['a hold of nobody', withRule(RULE.replace('allow', 'hold')), /found no hold, expected how many approvals/],
    ['a hold that does not hold', ruleWith("hold: { approvals: 1, of: ['officer:*'], within: 1h }"), /found hold at a rule that says allow/],
    ['a time zone that is none', ruleWith('times: [{ timeZone: Mars/Olympus }]'), /found "Mars\/Olympus", expected an IANA time zone/],
    ['a window of no length', ruleWith("times: [{ from: '08:00', to: '08:00', timeZone: UTC }]"), /expected another time than from/],
    ['a day that is none', ruleWith("expires: '2026-02-30T00:00:00Z'"), /found "2026-02-30T00:00:00Z", expected a time with its offset/],
    ['a time without an offset', ruleWith("expires: '2026-02-20T00:00:00'"), /expected a time with its offset/],
    ['a region of three digits', ruleWith("regions: ['331']"), /found "331", expected two, four or six digits/],
    ['a fact of no value', ruleWith('where: { owner: { a: b } }'), /found a map, expected a value, a list of texts, \$caller, or \$ and the name of a set/],
    ['$caller in a list', ruleWith('where: { owner: [$caller] }'), /found \$caller, expected the name of one of the sets/],
    [
      'a test of a rule that is none',
      withRule(RULE, "tests: [{ name: t, ask: { caller: 'module:a', operation: kms.key.sign }, expect: { verdict: deny, rule: b } }]"),
      /no rule is named b/,
    ],
    ['a duplicate key', `${withRule(RULE)}owner: you`, /found "owner" twice, expected unique keys/],
    ['an alias', withRule(RULE, 'sets: &a { a: [x] }\nzones: *a'), /found an alias, expected the thing itself, or a set/],
    ['a tag', withRule(RULE.replace('reason: r', 'reason: !!binary aGk=')), /found the tag tag:yaml\.org,2002:binary, expected none/],
    ['a name that JavaScript has a use for', withRule(RULE).replace('mixed:', '__proto__:'), /found "__proto__"/],
    ['a merge key', withRule(RULE).replace('mixed:', '<<:'), /found "<<", expected a name/],
    ['two documents', `${withRule(RULE)}---\npolicy: 2`, /multiple documents/i],
    ['control characters', withRule(RULE.replace('reason: r', 'reason: "a\\u0000b"')), /expected a line of at most 500 characters/],
    ['not YAML', 'policy: 2\nchains: [a', /^line 2, column \d+: /],
    ['lists without end', '['.repeat(100_000), /^found lists in lists without end/],
    ['nothing but faults', `policy: 2\nchains:\n- name: a\n  rules:\n${'  - { id: a, allow: x }\n'.repeat(40_000)}`, /^found more faults than can be told/],
    ['maps without end', `${'a: {'.repeat(1)}${'{a: '.repeat(20_000)}`, /./],
  ])('%s', (_what, text, fault) => {
    const faults = faultsOf(text)
    expect(
      faults.some((one) => fault.test(one)),
      faults.join('\n'),
    ).toBe(true)
  })

  it('all of them at once, in the order of the text, at most 100', () => {
    const faults = faultsOf(withRule(`${RULE.replace('allow', 'x')}\n      - ${RULE.replace('module:*', 'y')}`, 'z: 1'))
    expect(faults.map((fault) => fault.slice(0, 8))).toEqual(['line 9, ', 'line 10,', 'line 11,'])
    const many = faultsOf(withRule(Array.from({ length: 500 }, () => RULE.replace('allow', 'x')).join('\n      - ')))
    expect(many).toHaveLength(101)
    expect(many.at(-1)).toBe('and 400 more')
  })

  it.each([
    ['a map of 50,000 keys', `policy: 2\nsets:\n${Array.from({ length: 50_000 }, (_, at) => `  k${String(at)}: [x]`).join('\n')}\nchains: []\n`],
    ['30,000 fields that are not known', Array.from({ length: 30_000 }, (_, at) => `k${String(at)}: 1`).join('\n')],
    ['a list of 200,000 items', withRule(RULE.replace("['module:*']", `[${"'module:a', ".repeat(200_000)}]`))],
  ])('or taken, in little time: %s', (_what, text) => {
    const start = performance.now()
    faultsOf(text)
    expect(performance.now() - start).toBeLessThan(8000)
  })

  it('whatever is changed in a policy: it is taken or refused, and nothing else', { timeout: 60_000 }, () => {
    fc.assert(
      fc.property(policyText({ mostRules: 3 }), fc.nat(), fc.nat({ max: 40 }), fc.string({ unit: 'binary', maxLength: 8 }), (text, at, length, put) => {
        const from = at % (text.length + 1)
        try {
          parsePolicy(`${text.slice(0, from)}${put}${text.slice(from + length)}`, OPERATIONS)
        } catch (error) {
          expect(error).toBeInstanceOf(PolicyError)
        }
      }),
      { numRuns: 300 },
    )
  })
})

it('the published schema is the one that is read by', () => {
  const file = new URL('../../docs/policy.schema.json', import.meta.url)
  const schema = `${JSON.stringify({ $id: 'https://gridseal.example/policy.schema.json', ...z.toJSONSchema(POLICY, { io: 'input' }) }, null, 2)}\n`
  if (process.env['GRIDSEAL_WRITE_SCHEMA'] !== undefined) writeFileSync(file, schema)
  expect(JSON.parse(readFileSync(file, 'utf8'))).toEqual(JSON.parse(schema))
})
