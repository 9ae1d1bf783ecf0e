import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { utf8 } from '../../core/bytes.ts'
import { checkpointText, NoteError } from './checkpoint.ts'
import { withSignatures } from './cosignature.ts'
import { testLog, testWitness } from './testing/test-witness.ts'
import { judgeCheckpoint, parseWitnessPolicy, quorumHolds, WitnessPolicyError } from './witness-policy.ts'

const log = testLog('grid.example/audit')
const witnesses = ['X1', 'X2', 'X3', 'Y1', 'Y2', 'Y3'].map((name) => ({ name, ...testWitness(`witness.example/${name}`) }))
const vkeyOf = (name: string): string => witnesses.find((one) => one.name === name)?.key.vkey ?? ''

/** The example of C2SP tlog-policy, with keys. */
const EXAMPLE = `log ${log.key.vkey}

witness X1 ${vkeyOf('X1')}
witness X2 ${vkeyOf('X2')}
witness X3 ${vkeyOf('X3')}
group X-witnesses 2 X1 X2 X3

witness Y1 ${vkeyOf('Y1')}
witness Y2 ${vkeyOf('Y2')}
witness Y3 ${vkeyOf('Y3')}
group Y-witnesses any Y1 Y2 Y3

group X-and-Y all X-witnesses Y-witnesses
quorum X-and-Y
`
const parse = (text: string): ReturnType<typeof parseWitnessPolicy> => parseWitnessPolicy(utf8(text))
const TEXT = checkpointText({ origin: log.key.name, size: 3, root: new Uint8Array(32) })
const cosigned = (...names: readonly string[]): string =>
  withSignatures(
    log.note(TEXT),
    witnesses.filter(({ name }) => names.includes(name)).map(({ cosign }) => cosign(TEXT, 1_700_000_000)),
  )

describe('the published example', () => {
  it('holds with two of the one organization and one of the other, and never with fewer', () => {
    const policy = parse(EXAMPLE)
    fc.assert(
      fc.property(fc.subarray(witnesses.map(({ name }) => name)), (names) => {
        const expected = names.filter((name) => name.startsWith('X')).length >= 2 && names.some((name) => name.startsWith('Y'))
        expect(quorumHolds(policy, ({ name }) => names.includes(name))).toBe(expected)
        expect(judgeCheckpoint(cosigned(...names), policy)).toMatchObject({ satisfied: expected, checkpoint: { size: 3 } })
      }),
    )
  })
})

describe('the form', () => {
  it('allows spaces and tabs anywhere between words, comments, empty lines, URLs, and names beyond ASCII', () => {
    const policy = parse(
      `# a comment \u00e9\n\t \n \t log\t${log.key.vkey}   https://log.example/\n  # another\nwitness Zeug\u00e9 ${vkeyOf('X1')} https://w.example/x \nquorum\tZeug\u00e9\t\n`,
    )
    expect(policy.logs[0]).toMatchObject({ url: 'https://log.example/' })
    expect(policy.witnesses).toMatchObject([{ name: 'Zeug\u00e9', url: 'https://w.example/x' }])
  })

  it('tells names apart by their octets, and does not need them to be UTF-8', () => {
    const kelvin = `witness \u212a ${vkeyOf('X1')}\nwitness K ${vkeyOf('X2')}\nquorum \u212a\n`
    expect(quorumHolds(parse(kelvin), ({ key }) => key.name.endsWith('X2'))).toBe(false)
    const octets = Buffer.from(`witness \u00ff ${vkeyOf('X1')}\nwitness \u00fe ${vkeyOf('X2')}\nquorum \u00fe\n`, 'latin1')
    expect(quorumHolds(parseWitnessPolicy(octets), ({ key }) => key.name.endsWith('X2'))).toBe(true)
  })

  it('takes a policy without logs and witnesses where it says so', () => {
    const policy = parse('quorum none\n')
    expect(judgeCheckpoint(log.note(TEXT), policy, [log.key])).toMatchObject({ satisfied: true, cosignatures: [] })
    expect(() => judgeCheckpoint(log.note(TEXT), policy)).toThrow('no log of the policy')
  })

  const [X1, X2] = [`witness X1 ${vkeyOf('X1')}\n`, `witness X2 ${vkeyOf('X2')}\n`]
  it.each<[string, string, number | undefined, string]>([
    ['no quorum', X1, undefined, 'quorum line is missing'],
    ['an empty file', '', undefined, 'quorum line is missing'],
    ['two quorums', `${X1}quorum X1\nquorum X1\n`, 3, 'second quorum'],
    ['a quorum of what comes later', `quorum X1\n${X1}`, 1, 'no witness or group X1'],
    ['a group of what comes later', `group g any X1\n${X1}quorum g\n`, 1, 'no witness or group X1'],
    ['a group of itself', `${X1}group g any g X1\nquorum g\n`, 2, 'no witness or group g'],
    ['none in a group', `${X1}group g any none X1\nquorum g\n`, 2, 'no witness or group none'],
    ['a witness that is called none', `witness none ${vkeyOf('X1')}\nquorum none\n`, 1, 'none is taken'],
    ['a group that is called none', `${X1}group none any X1\nquorum none\n`, 2, 'none is taken'],
    ['a name that is given twice', `${X1}witness X1 ${vkeyOf('X2')}\nquorum X1\n`, 2, 'X1 is taken'],
    ['a group with a witness\u2019s name', `${X1}group X1 any X1\nquorum X1\n`, 2, 'X1 is taken'],
    ['a member of two groups', `${X1}${X2}group g any X1\ngroup h any X1 X2\nquorum h\n`, 4, 'X1 is a member'],
    ['a member that is named twice', `${X1}group g 2 X1 X1\nquorum g\n`, 2, 'X1 is a member'],
    ['a threshold of 0', `${X1}group g 0 X1\nquorum g\n`, 2, 'from 1 to 1'],
    ['a threshold above the members', `${X1}group g 2 X1\nquorum g\n`, 2, 'from 1 to 1'],
    ['a threshold that is no number', `${X1}group g most X1\nquorum g\n`, 2, 'from 1 to 1'],
    ['a group without members', `${X1}group g all\nquorum g\n`, 2, 'form'],
    ['one key under two names', `${X1}witness X9 ${vkeyOf('X1')}\nquorum X1\n`, 2, 'X1 has the same key'],
    ['a log twice', `log ${log.key.vkey}\nlog ${log.key.vkey}\nquorum none\n`, 2, 'log with this key'],
    ['a log\u2019s key for a witness', `witness X1 ${log.key.vkey}\nquorum X1\n`, 1, 'type 0x04'],
    ['a witness\u2019s key for a log', `log ${vkeyOf('X1')}\nquorum none\n`, 1, 'neither'],
    ['an unknown word', 'cosigner x\n', 1, 'not with cosigner'],
    ['a word too many', `${X1}quorum X1 X1\n`, 2, 'form'],
    ['a URL that is none', `witness X1 ${vkeyOf('X1')} here\nquorum X1\n`, 1, 'here is not a URL'],
    ['a URL with a password', `witness X1 ${vkeyOf('X1')} https://log:hidden@w.example\nquorum X1\n`, 1, 'no password'],
    ['a carriage return', 'quorum none\r\n', 1, 'control character'],
    ['a file that was cut off', `${X1}quorum X`, 2, 'cut off'],
  ])('%s is a fault with its line', (_what, text, line, message) => {
    const found = ((): unknown => {
      try {
        return parse(text)
      } catch (error) {
        return error
      }
    })()
    expect(found).toBeInstanceOf(WitnessPolicyError)
    expect(found).toMatchObject({ line })
    expect(String(found)).toContain(message)
  })

  it('never fails in another way', () => {
    const words = fc.constantFrom(
      'log',
      'witness',
      'group',
      'quorum',
      'none',
      'all',
      'any',
      '2',
      'X1',
      'g',
      vkeyOf('X1'),
      vkeyOf('X2'),
      log.key.vkey,
      '\n',
      '\n',
      '#',
    )
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.array(words).map((list) => `${list.join(' ')}\n`),
        ),
        (text) => {
          try {
            parse(text)
          } catch (error) {
            expect(error).toBeInstanceOf(WitnessPolicyError)
          }
        },
      ),
    )
  })
})

describe('a checkpoint under a policy', () => {
  it('of another log, or with a cosignature that fails, is refused', () => {
    const policy = parse(EXAMPLE)
    expect(() => judgeCheckpoint(testLog('grid.example/audit').note(TEXT), policy)).toThrow('no log of the policy')
    const borrowed = cosigned('X1').replace(/\n7\n|\n3\n/, '\n4\n')
    expect(() => judgeCheckpoint(borrowed, policy)).toThrow(NoteError)
    const bad = withSignatures(log.note(TEXT), [witnesses[0]?.cosign(TEXT.replace('\n3\n', '\n4\n'), 1) ?? ''])
    expect(() => judgeCheckpoint(bad, policy)).toThrow('does not verify')
  })

  it('is not made good by strangers, or by one witness many times', () => {
    const policy = parse(EXAMPLE)
    const stranger = testWitness('witness.example/X2')
    const many = [1, 2, 3].map((time) => witnesses[0]?.cosign(TEXT, time) ?? '')
    expect(judgeCheckpoint(withSignatures(cosigned('Y1'), [...many, stranger.cosign(TEXT, 1)]), policy).satisfied).toBe(false)
  })
})
