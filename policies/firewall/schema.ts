import { z } from 'zod'
import { CARD_STATES } from '../../core/card-facts.ts'
import { CALLER_KINDS, LISTENERS, STRENGTHS } from '../caller.ts'
import { isTimeZone } from './local-time.ts'
import { parseNetwork } from './network.ts'

/** Written in the place of an item: all members of a set. */
const SET = String.raw`\$[a-z0-9][a-z0-9._-]{0,63}`
const NAME_TEXT = String.raw`[a-z0-9][a-z0-9._-]{0,63}`
const CALLER_TEXT = String.raw`(?:${CALLER_KINDS.join('|')}|system):(?:\*|${NAME_TEXT})`
const matching = (pattern: string, expected: string) => z.string().regex(new RegExp(`^(?:${pattern})$`, 'u'), expected)

/** Kinds of callers are their roles. */
export const ROLES = [...CALLER_KINDS, 'system'] as const
/** Where in the grid's organisation a zone lies. */
export const LEVELS = ['internet', 'extranet', 'intranet', 'headquarters', 'province', 'state', 'city', 'county'] as const
export const DAYS = ['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'] as const
/** Names that the engine answers with where no rule decided. */
export const RESERVED_IDS: readonly string[] = ['default', 'error', 'lease', 'recovery', 'cards-apart']
/** The chain that the service's own jobs enter. */
export const SYSTEM_CHAIN = 'system'

const SHORT_TEXT = String.raw`[^$\u0000-\u001f\u007f][^\u0000-\u001f\u007f]{0,127}`
/** What an item of each list looks like, and how that is told. Members of sets are checked against the lists that name their set. */
const ITEMS = {
  callers: [CALLER_TEXT, 'a caller: kind:name or kind:*'],
  operations: [String.raw`\*|[a-z0-9-]+(?:\.[a-z0-9-]+)*(?:\.\*)?`, 'an operation: kms.key.sign, kms.key.* or *'],
  zones: [NAME_TEXT, 'the name of a zone'],
  keyLabels: [SHORT_TEXT, 'a label of a key, with * and ? for what is left open'],
  keyClasses: [NAME_TEXT, 'a class of keys, which is their algorithm: ec-p256'],
  vendors: [NAME_TEXT, 'the caller name of a vendor'],
  regions: [String.raw`\d\d(?:\d\d(?:\d\d)?)?`, 'two, four or six digits of a region (GB/T 2260)'],
  cardStates: [CARD_STATES.join('|'), `a state of a card: ${CARD_STATES.join(', ')}`],
  organisations: [SHORT_TEXT, 'an organisation'],
  where: [SHORT_TEXT, 'a value of the fact'],
} as const satisfies Readonly<Record<string, readonly [pattern: string, expected: string]>>
export type ListName = keyof typeof ITEMS

/** What a member of a set is to look like where the list names that set; undefined when it does. */
export const itemFault = (list: ListName, text: string): string | undefined =>
  new RegExp(`^(?:${ITEMS[list][0]})$`, 'u').test(text) ? undefined : ITEMS[list][1]

const MOST_ITEMS = 10_000
/** A list whose items may be sets. */
const list = (name: ListName, about: string) =>
  z
    .array(matching(`${SET}|${ITEMS[name][0]}`, `${ITEMS[name][1]}, or $ and the name of a set`))
    .min(1, 'at least one')
    .max(MOST_ITEMS, `at most ${String(MOST_ITEMS)}`)
    .meta({ description: about })

const NAME = matching(NAME_TEXT, 'a name: 1 to 64 of a-z, 0-9, dot, dash, underscore')
const TEXT = matching(String.raw`[^\u0000-\u001f\u007f]{1,500}`, 'a line of at most 500 characters')
const FACT = matching(String.raw`[A-Za-z][A-Za-z0-9_.-]{0,63}`, 'the name of a fact')
const COUNT = z.number('a whole number from 1').int('a whole number from 1').min(1, 'a whole number from 1').max(1_000_000_000, 'at most 1,000,000,000')
const DURATION = matching(String.raw`[1-9]\d{0,5}(?:ms|s|m|h|d)`, 'a duration: 500ms, 30s, 5m, 2h, 7d')
const TIME = z.iso.datetime({ offset: true, error: 'a time with its offset (RFC 3339): 2027-01-01T00:00:00Z' })
const TIME_ZONE = z.string().refine(isTimeZone, 'an IANA time zone: Asia/Shanghai')
const NETWORK = z.string().refine((text) => parseNetwork(text) !== undefined, 'a network: 10.1.0.0/16 or 2001:db8::/32, no bits behind the prefix')
const oneOf = <const Values extends readonly [string, ...string[]]>(values: Values) => z.enum(values, `one of ${values.join(', ')}`)

const ZONE = z
  .strictObject({
    networks: z.array(NETWORK).min(1, 'at least one').max(MOST_ITEMS).optional(),
    others: z.literal(true, 'true').optional().meta({ description: 'In place of networks: every address that no network of another zone holds.' }),
    listener: oneOf(LISTENERS).optional().meta({ description: 'The listener that the connection must have come to. Absent: any.' }),
    level: oneOf(LEVELS).optional().meta({ description: 'Where in the grid’s organisation it lies. Chains and rules may name levels in place of zones.' }),
  })
  .meta({ description: 'Where connections come from.' })

const CLOCK_TIME = matching(String.raw`(?:[01]\d|2[0-3]):[0-5]\d`, 'a time of day: 08:00')
const TIMES = z
  .strictObject({
    days: z.array(oneOf(DAYS)).min(1, 'at least one').optional().meta({ description: 'The days on which it begins. Absent: all.' }),
    from: CLOCK_TIME.optional(),
    to: matching(String.raw`(?:[01]\d|2[0-3]):[0-5]\d|24:00`, 'a time of day: 18:00, at most 24:00')
      .optional()
      .meta({ description: 'Not part of it. Before `from`: on the next day.' }),
    timeZone: TIME_ZONE,
  })
  .meta({ description: 'Times of the week by the clocks of a time zone, daylight saving included.' })

const SCALAR = z.union([z.string(), z.number(), z.boolean()])
const CONDITIONS = {
  callers: list('callers', 'Who asks.').optional(),
  roles: z.array(oneOf(ROLES)).min(1, 'at least one').optional().meta({ description: 'In what role: the kind of caller.' }),
  strength: z.array(oneOf(STRENGTHS)).min(1, 'at least one').optional().meta({ description: 'How the caller proved who it is.' }),
  operations: list('operations', 'What is asked for.'),
  zones: list('zones', 'Where the connection comes from: one of these zones.').optional(),
  levels: z.array(oneOf(LEVELS)).min(1, 'at least one').optional().meta({ description: 'Where the connection comes from: a zone of one of these levels.' }),
  keyLabels: list('keyLabels', 'Labels of the key; * is any text, ? any one character.').optional(),
  keyClasses: list('keyClasses', 'Algorithms of the key.').optional(),
  vendors: list('vendors', 'Whose cards or orders.').optional(),
  regions: list('regions', 'Where the card belongs; 33 covers 330106.').optional(),
  cardStates: list('cardStates', 'In what state the card is.').optional(),
  organisations: list('organisations', 'In whose scope.').optional(),
  times: z.array(TIMES).min(1, 'at least one').max(100).optional().meta({ description: 'When: in one of these.' }),
  where: z
    .record(FACT, z.union([SCALAR, z.array(z.string()).min(1).max(MOST_ITEMS)], 'a value, a list of texts, $caller, or $ and the name of a set'))
    .optional()
    .meta({ description: 'Any other fact of the operation: a value, one of several, or $caller for the caller’s own URN.' }),
}

const PER = oneOf(['caller', 'rule']).meta({ description: 'What shares it: each caller has one of its own, or all have one together.' })
const RATE = z
  .strictObject({
    per: PER,
    count: COUNT,
    every: DURATION,
    burst: COUNT.optional().meta({ description: 'How many may come at once. Absent: `count`.' }),
  })
  .meta({ description: 'A token bucket. Exhausted, it denies.' })
const QUOTA = z
  .strictObject({
    per: PER,
    count: COUNT.optional().meta({ description: 'How many requests.' }),
    sum: z.strictObject({ fact: FACT, most: COUNT }).optional().meta({ description: 'How much of what a numeric fact of the requests sums up to.' }),
    period: oneOf(['day', 'week', 'month']),
    timeZone: TIME_ZONE,
  })
  .meta({ description: 'How much in a day, week (from Monday) or month. Exhausted, it denies.' })
const HOLD = z
  .strictObject({
    approvals: COUNT.max(10, 'at most 10'),
    of: list('callers', 'Who may approve.'),
    within: DURATION,
  })
  .meta({ description: 'What a held request waits for.' })

const ABOUT = {
  owner: TEXT.optional().meta({ description: 'Who answers for it. Absent: the document’s.' }),
  reason: TEXT.meta({ description: 'Why it is there.' }),
  ticket: TEXT.optional().meta({ description: 'Where it was asked for.' }),
}
const GUARD_RULE = z.strictObject({
  id: NAME,
  verdict: z.literal('deny', 'deny: the guard only denies'),
  ...ABOUT,
  expires: TIME.optional(),
  log: oneOf(['brief', 'full']).optional(),
  ...CONDITIONS,
})
const RULE = z.strictObject({
  id: NAME.meta({ description: 'Stable: decisions, entries and tests name it. Unique in the document.' }),
  verdict: oneOf(['allow', 'deny', 'hold']),
  ...ABOUT,
  expires: TIME.optional().meta({ description: 'From then on it matches nothing.' }),
  log: oneOf(['brief', 'full'])
    .optional()
    .meta({ description: 'full: entries also say owner, reason, ticket and expiry of the rule, and zone and strength of the caller.' }),
  ...CONDITIONS,
  rate: RATE.optional(),
  quota: QUOTA.optional(),
  hold: HOLD.optional(),
})

const CHAIN = z
  .strictObject({
    name: NAME,
    zones: list('zones', 'The zones that enter it.').optional(),
    levels: z.array(oneOf(LEVELS)).min(1, 'at least one').optional().meta({ description: 'The zones of these levels enter it too.' }),
    rules: z.array(RULE),
  })
  .meta({ description: 'A request enters the first chain that one of its zones enters, and no other.' })

/** A question, as tests put it. */
export const TEST_ASK = z.strictObject({
  caller: matching(String.raw`(?:${CALLER_KINDS.join('|')}|system):${NAME_TEXT}`, 'a caller: kind:name'),
  address: z.string().optional(),
  listener: oneOf(LISTENERS).optional().meta({ description: 'Absent: tls.' }),
  strength: oneOf([...STRENGTHS, 'none'])
    .optional()
    .meta({ description: 'Absent: certificate. none: who has shown nothing.' }),
  operation: matching(String.raw`[a-z0-9-]+(?:\.[a-z0-9-]+)*`, 'an operation: kms.key.sign'),
  admitted: z.boolean('true or false').optional().meta({ description: 'Whether a vendor or module is admitted then. Absent: yes.' }),
  usesKey: z.boolean('true or false').optional().meta({ description: 'Whether it would use a key. Absent: no.' }),
  facts: z.record(FACT, SCALAR).optional().meta({ description: 'What the operation states. $caller is the caller’s own URN.' }),
  at: TIME.optional().meta({ description: 'Absent: the time of the test.' }),
})

const TEST = z.strictObject({
  name: TEXT,
  ask: TEST_ASK,
  expect: z.strictObject({
    verdict: oneOf(['allow', 'deny', 'hold']),
    rule: matching(String.raw`(?:guard:)?${NAME_TEXT}`, 'a rule, or default').optional(),
  }),
})

export const POLICY = z
  .strictObject({
    policy: z.literal(2, '2, the version of the language'),
    owner: TEXT.optional().meta({ description: 'Who answers for the rules that do not say it themselves.' }),
    zones: z.record(NAME, ZONE).default({}),
    sets: z.record(NAME, z.array(z.string()).min(1, 'at least one').max(MOST_ITEMS)).default({}).meta({ description: 'Lists that rules name with $.' }),
    guard: z.array(GUARD_RULE).default([]).meta({ description: 'Rules before all others, for every zone and for the service’s own jobs. They only deny.' }),
    chains: z.array(CHAIN),
    tests: z.array(TEST).default([]).meta({ description: 'A policy that fails one of its tests is not taken.' }),
  })
  .meta({ title: 'Gridseal policy, version 2', description: 'Who may do what. See docs/policy.md.' })

export type PolicyDocument = z.output<typeof POLICY>
export type RuleDocument = PolicyDocument['chains'][number]['rules'][number]
export type GuardRuleDocument = PolicyDocument['guard'][number]
export type PolicyTest = PolicyDocument['tests'][number]
