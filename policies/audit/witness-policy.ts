import { equalBytes, fromLatin1, fromUtf8 } from '../../core/bytes.ts'
import { type Checkpoint, type LogKey, NoteError, openCheckpoint, parseLogKey } from './checkpoint.ts'
import { type Cosignature, openCosignatures, parseWitnessKey, type WitnessKey } from './cosignature.ts'
import { splitNote } from './note.ts'

/** Which cosignatures make a checkpoint good enough (C2SP tlog-policy): known logs, known witnesses, groups of them, one quorum. Pure. */

export interface PolicyLog {
  readonly key: LogKey
  readonly url: string | undefined
}

export interface PolicyWitness {
  readonly name: string
  readonly key: WitnessKey
  /** The submission prefix of C2SP tlog-witness. */
  readonly url: string | undefined
}

/** Holds when at least `threshold` of its members do. */
interface PolicyGroup {
  readonly name: string
  readonly threshold: number
  readonly members: readonly (PolicyWitness | PolicyGroup)[]
}

export interface WitnessPolicy {
  readonly logs: readonly PolicyLog[]
  readonly witnesses: readonly PolicyWitness[]
  /** Undefined: `quorum none`. */
  readonly quorum: PolicyWitness | PolicyGroup | undefined
}

/** A policy that is not one. The message begins with the line, where there is one. */
export class WitnessPolicyError extends Error {
  override readonly name = 'WitnessPolicyError'
  /** From 1. */
  readonly line: number | undefined

  constructor(line: number | undefined, message: string, options?: ErrorOptions) {
    super(line === undefined ? message : `line ${line}: ${message}`, options)
    this.line = line
  }
}

const MAX_BYTES = 1_000_000
/** Logs, witnesses and groups, each. */
const MAX_OF_A_KIND = 256
const ALLOWED = /^[\t\n\u0020-\u007e\u0080-\u00ff]*$/

/** Strict. Throws a {@link WitnessPolicyError} with the line at fault. */
export function parseWitnessPolicy(bytes: Uint8Array): WitnessPolicy {
  if (bytes.length > MAX_BYTES) throw new WitnessPolicyError(undefined, 'the policy is too long')
  // Octets, not characters: the format compares names octet by octet.
  const text = fromLatin1(bytes)
  const lines = text.split('\n')
  if (lines.pop() !== '') throw new WitnessPolicyError(lines.length + 1, 'the last line does not end: the file was cut off')
  const parser = new PolicyParser()
  for (const [at, line] of lines.entries()) {
    try {
      if (!ALLOWED.test(line)) throw new NoteError('a control character')
      parser.take(line.split(/[ \t]+/).filter((word) => word !== ''))
    } catch (error) {
      if (!(error instanceof NoteError)) throw error
      throw new WitnessPolicyError(at + 1, error.message, { cause: error })
    }
  }
  return parser.finish()
}

class PolicyParser {
  readonly #logs: PolicyLog[] = []
  readonly #witnesses: PolicyWitness[] = []
  /** By the octets of their names. */
  readonly #named = new Map<string, PolicyWitness | PolicyGroup>()
  readonly #grouped = new Set<string>()
  #groups = 0
  #quorum: { readonly of: PolicyWitness | PolicyGroup | undefined } | undefined

  take([word, ...rest]: readonly string[]): void {
    if (word === undefined || word.startsWith('#')) return
    if (word === 'log') this.#log(rest)
    else if (word === 'witness') this.#witness(rest)
    else if (word === 'group') this.#group(rest)
    else if (word === 'quorum') this.#setQuorum(rest)
    else throw new NoteError(`a line begins with log, witness, group, quorum or #, not with ${shown(word)}`)
  }

  finish(): WitnessPolicy {
    if (this.#quorum === undefined) throw new WitnessPolicyError(undefined, 'the quorum line is missing')
    return { logs: this.#logs, witnesses: this.#witnesses, quorum: this.#quorum.of }
  }

  #log([vkey, url, ...more]: readonly string[]): void {
    if (vkey === undefined || more.length > 0) throw new NoteError('the form is: log <vkey> [<url>]')
    const key = parseLogKey(shown(vkey))
    if (this.#logs.some((log) => equalBytes(log.key.publicKey.spki, key.publicKey.spki))) throw new NoteError('a log with this key stands above')
    limit(this.#logs.push({ key, url: urlOf(url) }), 'logs')
  }

  #witness([name, vkey, url, ...more]: readonly string[]): void {
    if (name === undefined || vkey === undefined || more.length > 0) throw new NoteError('the form is: witness <name> <vkey> [<url>]')
    const key = parseWitnessKey(shown(vkey))
    const twin = this.#witnesses.find((one) => equalBytes(one.key.publicKey.spki, key.publicKey.spki))
    if (twin !== undefined) throw new NoteError(`the witness ${twin.name} has the same key: it would count twice`)
    const witness = { name: shown(name), key, url: urlOf(url) }
    this.#define(name, witness)
    limit(this.#witnesses.push(witness), 'witnesses')
  }

  #group([name, kind, ...names]: readonly string[]): void {
    if (name === undefined || kind === undefined || names.length === 0) throw new NoteError('the form is: group <name> all|any|<k> <name>...')
    const threshold = kind === 'all' ? names.length : kind === 'any' ? 1 : Number(/^[1-9][0-9]{0,5}$/.exec(kind)?.[0] ?? Number.NaN)
    if (!(threshold >= 1 && threshold <= names.length)) throw new NoteError(`a group of ${names.length} needs all, any or a number from 1 to ${names.length}`)
    const members = names.map((member) => {
      const found = this.#find(member)
      if (this.#grouped.has(member)) throw new NoteError(`${shown(member)} is a member of a group already`)
      this.#grouped.add(member)
      return found
    })
    this.#define(name, { name: shown(name), threshold, members })
    limit((this.#groups += 1), 'groups')
  }

  #setQuorum([name, ...more]: readonly string[]): void {
    if (name === undefined || more.length > 0) throw new NoteError('the form is: quorum <name>')
    if (this.#quorum !== undefined) throw new NoteError('a second quorum')
    this.#quorum = { of: name === 'none' ? undefined : this.#find(name) }
  }

  #find(name: string): PolicyWitness | PolicyGroup {
    const found = this.#named.get(name)
    if (found === undefined) throw new NoteError(`no witness or group ${shown(name)} stands above`)
    return found
  }

  #define(name: string, what: PolicyWitness | PolicyGroup): void {
    if (name === 'none') throw new NoteError('the name none is taken')
    if (this.#named.has(name)) throw new NoteError(`the name ${shown(name)} is taken`)
    this.#named.set(name, what)
  }
}

function limit(count: number, what: string): void {
  if (count > MAX_OF_A_KIND) throw new NoteError(`more than ${MAX_OF_A_KIND} ${what}`)
}

function urlOf(octets: string | undefined): string | undefined {
  const text = octets === undefined ? undefined : shown(octets)
  if (text === undefined) return undefined
  if (!URL.canParse(text)) throw new NoteError(`${text} is not a URL`)
  const { username, password } = new URL(text)
  // It is shown to whoever asks how the witnesses are.
  if (username !== '' || password !== '') throw new NoteError('a URL has no name and no password')
  return text
}

const shown = (octets: string): string => fromUtf8(Uint8Array.from(octets, (octet) => octet.charCodeAt(0)))

/** Whether the quorum holds with cosignatures of these witnesses. */
export const quorumHolds = ({ quorum }: WitnessPolicy, cosigned: (witness: PolicyWitness) => boolean): boolean =>
  quorum === undefined || holds(quorum, cosigned)

const holds = (one: PolicyWitness | PolicyGroup, cosigned: (witness: PolicyWitness) => boolean): boolean =>
  'key' in one ? cosigned(one) : one.members.filter((member) => holds(member, cosigned)).length >= one.threshold

export interface JudgedCheckpoint {
  readonly checkpoint: Checkpoint
  readonly log: LogKey
  /** Of the policy's witnesses, at most one each. */
  readonly cosignatures: readonly Cosignature[]
  /** The quorum holds. */
  readonly satisfied: boolean
}

/**
 * A checkpoint under a policy. `logs`: keys to take where the policy lists none. Throws a {@link NoteError} when none of the logs signed it, or when a
 * signature of a known log or witness fails.
 */
export function judgeCheckpoint(note: string, policy: WitnessPolicy, logs: readonly LogKey[] = []): JudgedCheckpoint {
  const known = policy.logs.length > 0 ? policy.logs.map(({ key }) => key) : logs
  const { signatures } = splitNote(note)
  const log = known.find(({ name, id }) => signatures.some((one) => one.name === name && one.id === id))
  if (log === undefined) throw new NoteError('no log of the policy signed this checkpoint')
  const checkpoint = openCheckpoint(note, log)
  const cosignatures = openCosignatures(
    note,
    policy.witnesses.map(({ key }) => key),
  )
  return { checkpoint, log, cosignatures, satisfied: quorumHolds(policy, (witness) => cosignatures.some(({ key }) => key === witness.key)) }
}
